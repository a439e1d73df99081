// Numbers with their units, and words for what has a name in the metrics.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A count: 1,234. */
export const count = (value) => (value === undefined ? "–" : whole.format(value));

/** Three figures at most, where more would only flicker. */
export function few(value) {
  if (value === undefined) return "–";
  if (value >= 99.5) return whole.format(value);
  return value === 0 ? "0" : value.toFixed(value >= 9.95 ? 0 : value >= 0.095 ? 1 : 2);
}

export const perSecond = (value) => (value === undefined ? "–" : `${few(value)}/s`);
/** From bytes a second. */
export const megabits = (value) => (value === undefined ? "–" : `${few(value * 8e-6)} Mbit/s`);
/** From a share of 1. */
export const percent = (value) => (value === undefined ? "–" : `${few(100 * value)} %`);

export function seconds(value) {
  if (value === undefined) return "–";
  if (value < 0.9995) return `${few(1000 * value)} ms`;
  return value < 120 ? `${few(value)} s` : minutes(value);
}

/** A wait, in whole seconds. */
export const wait = (value) => (value < 120 ? `${count(value)} s` : minutes(value));

function minutes(value) {
  const [hours, left, rest] = [Math.floor(value / 3600), Math.floor((value % 3600) / 60), Math.floor(value % 60)];
  const parts = hours > 0 ? [`${hours} h`, left && `${left} min`] : [`${left} min`, rest && `${rest} s`];
  return parts.filter(Boolean).join(" ");
}

export const clock = (at) => new Date(at).toLocaleTimeString("en-GB");

/** A name of the metrics as a person reads it. */
export const plain = (name) => name.replaceAll("_", " ");

export const PATHS = {
  hairpin: "Within this server",
  client_to_peer: "From clients to peers",
  peer_to_client: "From peers to clients",
};

/** What overflowed, first: these say that this machine, or a client, is too slow. */
export const OVERFLOW = {
  receive_buffer_full: "Receive buffer full",
  send_buffer_full: "Send buffer full",
  stream_slow: "Client reads too slowly (TCP, TLS)",
  parcels_full: "Hand-over between workers full",
};

/** How the bus between nodes stands. */
export const BUS = {
  connected: "connected",
  trying: "being connected",
  disconnected: "no broker: this node is on its own",
  refused: "the broker could keep what it hears: this node is on its own",
};

/** How a node of the cluster stands, as this one sees it. */
export function node({ ready, draining, matches, alike }) {
  if (draining) return "drains";
  if (!ready) return "not ready";
  if (!matches) return "ready, but apart: another key";
  return alike ? "ready" : "ready, but with other settings";
}

export const ENDS = { hangup: "hung up", next: "next", lost: "partner lost", failed: "failed", deadline: "too late" };

const GENDERS = { f: "women", m: "men", x: "others" };
const RELAXED = {
  topics: ["Topics", "without their topics"],
  level: ["Level", "at any level"],
  gender: ["Gender", "of any gender"],
  country: ["Country", "from anywhere"],
};

export const cohort = (bands) => (bands === undefined ? "Several" : bands.map((band) => band.replace("-", "–")).join(", "));
export const level = (lvl) => lvl ?? "Several";

export function wants(genders) {
  if (genders === undefined) return "Several";
  return genders.length === 3 ? "Anyone" : capital(genders.map((gender) => GENDERS[gender]).join(", "));
}

const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);

/** What keeps a group waiting: the word for it, and what would help. */
export function starved({ starved_of, hint }) {
  if (starved_of === undefined) return ["–", "nobody for ten seconds yet"];
  if (starved_of === "people") return ["Too few people", "no one wish given up would help"];
  const [word, relaxed] = RELAXED[hint.relax] ?? [capital(hint.relax), "otherwise"];
  return [word, `${count(hint.would_match)} or more would fit ${relaxed}`];
}
