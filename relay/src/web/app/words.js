// What the page says about what happens.

export const LEVELS = { A1: "beginner", A2: "elementary", B1: "intermediate", B2: "upper intermediate", C1: "advanced", C2: "proficient" };

export const PROBLEMS = {
  E_AGE: "This server does not admit your age group.",
  E_BUSY: "The server is full just now. Please try again in a moment.",
  E_CRIT: "These choices are not allowed for your account.",
  E_DEADLINE: "That connection took too long.",
  E_MEDIA: "Your browser could not set up the sound.",
  E_NO_SUPPLY: "Nobody who fits is online right now.",
  E_RATE: "That was a little fast. Please wait a moment.",
  E_REPORT_RETRY: "Your report could not be delivered. Please try again in a moment.",
  E_REVOKED: "The app has withdrawn your access.",
  E_TOKEN: "Your pass has expired. Please start over.",
};

export const OFFLINE = {
  E_AGE: PROBLEMS.E_AGE,
  E_NO_DEMO: "This server hands out no demonstration passes: an app's own backend does. See the README for how to use pair.js.",
  replaced: "You opened this page somewhere else, and are connected there.",
  busy: PROBLEMS.E_BUSY,
  refused: "The server does not let you in.",
  token: PROBLEMS.E_TOKEN,
  rate: PROBLEMS.E_RATE,
};

export const GRADES = { good: "Good connection", fair: "Fair connection", poor: "Poor connection" };

const GAPS = { fair: "small gaps", poor: "large gaps" };

/** Whose voice reaches the relay with gaps; nothing if neither does. */
export function relay(up, down) {
  const voices = [["Your voice", up], ["Your partner’s voice", down]].filter(([, grade]) => GAPS[grade]);
  return voices.map(([whose, grade]) => `${whose} reaches the relay with ${GAPS[grade]}.`).join(" ");
}

/** Figures of both voices on their way to the relay; nothing of a server that does not say. */
export function sides(your, their) {
  const voices = [["you", your?.up], ["partner", their?.up]].filter(([, up]) => up);
  const figures = (up) => [`lost ${up.lost} %`, `jitter ${up.jitterMs} ms`, up.rttMs !== null && `round trip ${up.rttMs} ms`, up.mos && `MOS-CQE ${up.mos} (${up.profile})`];
  return voices.map(([whose, up]) => `${whose} → relay: ${figures(up).filter(Boolean).join(" · ")}`).join("; ");
}

export const ENDS = {
  hangup: "Your partner hung up.",
  next: "Your partner moved on.",
  lost: "The connection to your partner was lost.",
  asleep: "Your partner did not answer.",
  deadline: "Time ran out for this call.",
  failed: "No connection to your partner could be made.",
  declined: "Your partner preferred not to talk now.",
};

export const PEER = {
  stalled: "Your partner’s connection has stalled…",
  reconnecting: "Your partner is reconnecting…",
  back: "Talking",
};

export const MICROPHONE = {
  off: "",
  asking: "Your browser is asking for the microphone…",
  on: "Your microphone is on.",
  muted: "Your microphone is muted.",
  refused: "Your microphone is not allowed, so you will listen and type. ",
  missing: "No microphone was found, so you will listen and type. ",
  lost: "Your microphone is gone: switched off or unplugged. ",
};

const WIDENED = ["a level close to yours", "a level close to yours", "levels further from yours too", "anyone within the limits you set"];
const WISHES = { topics: "you talked about anything", level: "you took any level", gender: "you talked to everyone", country: "you took any country" };

/** Only what the server knows: without a figure from it, "unknown". */
export function ahead(count) {
  if (count === null || count === undefined) return "unknown";
  return count === 0 ? "nobody" : String(count);
}

export function wait(eta) {
  return eta ? `${duration(eta.p50)}–${duration(eta.p90)}` : "unknown";
}

export function search(stage, topicsOnly) {
  const topic = topicsOnly || stage === 0 ? "a shared topic" : "any topic";
  return `Looking for ${topic}, ${WIDENED[stage] ?? WIDENED.at(-1)}.`;
}

export function hint({ relax, wouldMatch }) {
  if (!WISHES[relax]) return "";
  return `${wouldMatch === 1 ? "Somebody" : `${wouldMatch} people or more`} would fit now if ${WISHES[relax]}.`;
}

function duration(ms) {
  if (ms < 1000) return "1 s";
  return ms < 90_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}

export function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
