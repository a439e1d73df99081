// The page: one `Pair`, five screens, and words for what happens. Text from a partner is only ever set as text.

import { Pair } from "./pair.js";

const LEVELS = { A1: "beginner", A2: "elementary", B1: "intermediate", B2: "upper intermediate", C1: "advanced", C2: "proficient" };
const TOPICS_MAX = 5;
const TOAST_MS = 6000;

const $ = (id) => document.getElementById(id);
const screens = { you: "Pair", wish: "Pair", wait: "Looking… · Pair", call: "In a call · Pair", offline: "Not connected · Pair" };
const chosen = (name) => [...document.querySelectorAll(`input[name="${name}"]:checked`)].map((input) => input.value);

const pair = new Pair({ token: demoToken });
let since = 0; // when the clock on the screen started
let tidyToast = 0;

/** For local use the daemon signs what the form says; in an app its own backend does, and there is no such form. */
async function demoToken() {
  const body = { name: $("name").value.trim() || "Someone", lvl: chosen("lvl")[0], band: chosen("band")[0], g: chosen("g")[0], gp: ["f", "m", "x"] };
  const response = await fetch("/demo/token", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  if (!response.ok) throw Object.assign(new Error("no demo token"), { code: response.status === 404 ? "E_NO_DEMO" : "E_OFFLINE" });
  return (await response.json()).token;
}

// --- screens ---

function show(name) {
  for (const other of Object.keys(screens)) $(`screen-${other}`).hidden = other !== name;
  document.title = screens[name];
  $(`screen-${name}`).querySelector("h1").focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function say(words) {
  $("news").textContent = words;
}

function toast(words) {
  $("toast").textContent = words;
  $("toast").hidden = false;
  clearTimeout(tidyToast);
  tidyToast = setTimeout(() => ($("toast").hidden = true), TOAST_MS);
}

function note(id, words) {
  $(id).textContent = words;
  $(id).hidden = words === "";
}

const SHOWS = {
  state: ({ state, why }) => {
    if (state === "offline") offline(why);
    if (state === "connecting") note("ended-note", "");
    if (state === "idle") show("wish");
    if (state === "queued") waiting();
    if (state === "matched") show("call");
    if (state === "talking") talking();
    shield();
  },
  microphone: ({ microphone }) => showMicrophone(microphone),
  queued: showPlace,
  position: showPlace,
  matched: showPartner,
  stream: ({ stream }) => hear(stream),
  text: showText,
  quality: showQuality,
  peer: ({ state }) => showPeer(state),
  connection: ({ resuming }) => showOwnConnection(resuming),
  safety: ({ code }) => showSafety(code),
  blocked: () => toast("You will not meet them again."),
  reported: () => toast("Your report has arrived. Thank you."),
  drain: () => toast("This server will stop soon. Your call can go on until then."),
  ended: showEnded,
  error: ({ code, message, asked }) => toast((asked === "text" ? "Your message did not arrive. " : "") + (PROBLEMS[code] ?? `The server said no: ${message}`)),
};
for (const [type, act] of Object.entries(SHOWS)) pair.addEventListener(type, (event) => act(event.detail));

const PROBLEMS = {
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
const OFFLINE = {
  E_AGE: PROBLEMS.E_AGE,
  E_NO_DEMO: "This server hands out no demonstration passes: an app's own backend does. See the README for how to use pair.js.",
  replaced: "You opened this page somewhere else, and are connected there.",
  busy: PROBLEMS.E_BUSY,
  refused: "The server does not let you in.",
  token: PROBLEMS.E_TOKEN,
  rate: PROBLEMS.E_RATE,
};

/** What the form can change, or nothing at all: then back to the form instead of the same answer again. */
const NEEDS_FORM = new Set(["left", "E_AGE", "E_TOKEN", "token"]);

function offline(why) {
  if (why === "left") return show("you");
  $("again").textContent = NEEDS_FORM.has(why) ? "Start over" : "Try again";
  $("offline-why").textContent = OFFLINE[why] ?? "The connection to the server was lost.";
  show("offline");
}

// --- hello ---

async function connect() {
  $("screen-you").querySelector("button").disabled = true;
  try {
    const welcome = await pair.connect();
    listTopics(welcome.topics ?? []);
    $("next").hidden = welcome.policy?.next === false;
    $("chat").hidden = welcome.policy?.text === false;
    $("report").hidden = welcome.policy?.report === false;
  } catch {
    // shown by the state event
  } finally {
    $("screen-you").querySelector("button").disabled = false;
  }
}

function listTopics(names) {
  $("topics").replaceChildren(...names.map((name, number) => {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "checkbox", name: "topic", value: String(number) });
    const words = document.createElement("span");
    words.textContent = name;
    label.append(input, words);
    return label;
  }));
}

function limitTopics() {
  const full = chosen("topic").length >= TOPICS_MAX;
  for (const input of document.querySelectorAll('input[name="topic"]')) input.disabled = full && !input.checked;
}

// --- waiting ---

async function find() {
  if (chosen("gender").length === 0) return toast("Choose at least one kind of person to talk to.");
  $("find").disabled = true;
  try {
    await pair.queue({
      topics: chosen("topic").map(Number),
      topic_mode: $("topic-mode").checked ? "require" : "prefer",
      gender: chosen("gender"),
      max_dist: Number(chosen("dist")[0]),
    });
  } catch (error) {
    toast(error.message);
  } finally {
    $("find").disabled = false;
  }
}

function waiting() {
  showPlace({ ahead: null, eta: null, stage: 0 });
  since = Date.now();
  show("wait");
  meter(pair.localStream, $("wait-level"));
  say("Looking for someone to talk to");
}

/** Only what the server knows: without a figure from it, "unknown". */
function showPlace({ ahead, eta, stage, hint }) {
  $("ahead").textContent = ahead === null || ahead === undefined ? "unknown" : ahead === 0 ? "nobody" : String(ahead);
  $("eta").textContent = eta ? `${duration(eta.p50)}–${duration(eta.p90)}` : "unknown";
  const topic = $("topic-mode").checked || stage === 0 ? "a shared topic" : "any topic";
  const level = ["a level close to yours", "a level close to yours", "levels further from yours too", "anyone within the limits you set"][stage] ?? "";
  const wish = { topics: "you talked about anything", level: "you took any level", gender: "you talked to everyone", country: "you took any country" }[hint?.relax];
  const help = wish ? ` ${hint.wouldMatch === 1 ? "Somebody" : `${hint.wouldMatch} people or more`} would fit now if ${wish}.` : "";
  $("widening").textContent = `Looking for ${topic}, ${level}.${help}`;
}

function duration(ms) {
  if (ms < 1000) return "1 s";
  return ms < 90_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}

// --- in a call ---

function showPartner({ peer }) {
  const name = String(peer.card?.n ?? peer.card?.name ?? "Someone").slice(0, 40);
  const topics = (peer.topics ?? []).map((number) => pair.welcome?.topics?.[number]).filter(Boolean);
  $("partner").textContent = name;
  $("initial").textContent = [...name][0]?.toUpperCase() ?? "?";
  $("about").textContent = [peer.lvl && `${peer.lvl} · ${LEVELS[peer.lvl] ?? ""}`, topics.length > 0 && `you both chose ${topics.join(", ")}`].filter(Boolean).join(" · ");
  $("call-state").textContent = "Connecting…";
  $("clock").textContent = "";
  $("quality").dataset.grade = "none";
  $("quality-text").textContent = "Measuring";
  $("quality-numbers").textContent = "";
  note("next-note", "");
  note("ended-note", "");
  say(`Found ${name}. Connecting.`);
}

function talking() {
  since = Date.now();
  $("call-state").textContent = "Talking";
  say(`You are talking to ${$("partner").textContent}`);
}

function hear(stream) {
  const far = $("far");
  far.srcObject = stream;
  far.play().catch(() => ($("sound").hidden = far.srcObject === null));
  meter(stream, $("face"));
}

function showText({ from, text }) {
  const line = document.createElement("li");
  const who = document.createElement("span");
  who.className = "visually-hidden";
  who.textContent = from === "self" ? "You: " : `${$("partner").textContent}: `;
  line.className = from;
  line.append(who, text);
  $("log").append(line);
  $("log").scrollTop = $("log").scrollHeight;
}

const GRADES = { good: "Good connection", fair: "Fair connection", poor: "Poor connection" };

function showQuality({ grade, rttMs, loss, jitterMs, local, remote }) {
  $("quality").dataset.grade = grade;
  if ($("quality-text").textContent !== GRADES[grade]) $("quality-text").textContent = GRADES[grade];
  const figure = (value, unit) => (value === null ? "–" : `${value} ${unit}`);
  const lost = loss === null ? null : Math.round(loss * 1000) / 10;
  $("quality-numbers").textContent = `round trip ${figure(rttMs, "ms")} · lost ${figure(lost, "%")} · jitter ${figure(jitterMs, "ms")} · ${local ?? "?"}\u00a0↔\u00a0${remote ?? "?"}`;
  shield();
}

/** In a call: what the chosen candidate pair says. Before it: what the server's policy promises. */
function shield() {
  const promised = !pair.welcome ? null : pair.welcome.policy?.direct === true ? "shown" : "hidden";
  const path = pair.call?.path ?? promised ?? "checking";
  const words = {
    hidden: pair.call ? "Your address is hidden" : "Your address will be hidden",
    shown: pair.call ? "Addresses are shown" : "Partners see each other’s address",
    checking: pair.call ? "Checking the path…" : "Not connected",
  }[path];
  $("shield").dataset.path = path;
  if ($("shield-text").textContent !== words) $("shield-text").textContent = words;
  $("promise").textContent = promised === "shown"
    ? "On this server two callers connect directly when they can: your partner’s device learns your internet address, and you learn theirs."
    : "Your voice goes through our relay, encrypted end to end. Your partner never learns your internet address.";
}

function showPeer(state) {
  const words = { stalled: "Your partner’s connection has stalled…", reconnecting: "Your partner is reconnecting…", back: "Talking" }[state];
  if (words) $("call-state").textContent = words;
}

function showOwnConnection(resuming) {
  $("own-connection").hidden = !resuming || !pair.call;
  say(resuming ? "Your connection broke. Reconnecting." : "Connected again.");
}

function showSafety(code) {
  $("safety").hidden = !code;
  $("safety-code").textContent = code ?? "";
}

function writeReport() {
  pair.beginReport();
  $("report-note").value = "";
  $("report-dialog").returnValue = ""; // closed by Escape it would keep the last one
  $("report-dialog").showModal();
}

function closeReport() {
  if ($("report-dialog").returnValue !== "send") return pair.cancelReport();
  const report = { category: $("report-category").value, note: $("report-note").value.trim(), end: true };
  try {
    pair.report(report);
  } catch (error) {
    toast(error.message);
  }
}

const MICROPHONE = {
  off: "", asking: "Your browser is asking for the microphone…", on: "Your microphone is on.", muted: "Your microphone is muted.",
  refused: "Your microphone is not allowed, so you will listen and type. ",
  missing: "No microphone was found, so you will listen and type. ",
  lost: "Your microphone is gone: switched off or unplugged. ",
};

function showMicrophone(state) {
  for (const id of ["wait-microphone", "call-microphone"]) {
    $(id).textContent = MICROPHONE[state];
    $(id).dataset.state = state;
    if (state === "refused" || state === "missing" || state === "lost") $(id).append(button("Try it again", () => pair.openMicrophone()));
  }
  const muted = state === "muted";
  $("mute").setAttribute("aria-pressed", String(muted));
  $("mute").lastElementChild.textContent = muted ? "Unmute" : "Mute";
  $("mute").disabled = state !== "on" && !muted;
}

function button(words, act) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: words });
  made.addEventListener("click", act);
  return made;
}

/** pair.js has stopped the media and forgotten the text; what is on the screen goes too. */
function showEnded({ by, why, requeued }) {
  $("far").srcObject = null;
  $("sound").hidden = true;
  $("log").replaceChildren();
  $("words").value = "";
  for (const id of ["partner", "initial", "about", "call-state", "clock"]) $(id).textContent = "";
  showSafety(null);
  $("own-connection").hidden = true;
  if (!requeued) meter(null);
  const words = by === "self" ? "" : ENDS[why] ?? "The call is over.";
  note(requeued ? "next-note" : "ended-note", words);
  if (words) say(words);
}

const ENDS = {
  hangup: "Your partner hung up.",
  next: "Your partner moved on.",
  lost: "The connection to your partner was lost.",
  asleep: "Your partner did not answer.",
  deadline: "The connection took too long to set up.",
  failed: "No connection to your partner could be made.",
  declined: "Your partner preferred not to talk now.",
};

// --- level meter and clocks ---

let context = null; // made at the first click that needs it: browsers allow sound only then
let ear = null; // { source, analyser, element }
let frame = 0;

/** Draws how loud a stream is on one element; nothing else is done with the sound. */
function meter(stream, element) {
  cancelAnimationFrame(frame);
  ear?.source.disconnect();
  ear?.element.style.removeProperty("--level");
  ear = null;
  if (!stream) return;
  context ??= new AudioContext();
  ear = { source: context.createMediaStreamSource(stream), analyser: new AnalyserNode(context, { fftSize: 512 }), element };
  ear.source.connect(ear.analyser);
  draw();
}

function draw() {
  const samples = new Float32Array(ear.analyser.fftSize);
  ear.analyser.getFloatTimeDomainData(samples);
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  ear.element.style.setProperty("--level", Math.min(1, Math.sqrt(power) * 5).toFixed(2));
  frame = requestAnimationFrame(draw);
}

setInterval(() => {
  const seconds = Math.floor((Date.now() - since) / 1000);
  if (pair.state === "queued") $("waited").textContent = `${seconds} s`;
  if (pair.state === "talking") $("clock").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}, 250);

// --- what the person does ---

function onSubmit(id, act) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    act();
  });
}

onSubmit("screen-you", connect);
onSubmit("screen-wish", find);
onSubmit("say", () => {
  const words = $("words").value.trim();
  if (words && pair.call) pair.sendText(words);
  $("words").value = "";
});
$("topics").addEventListener("change", limitTopics);
$("leave").addEventListener("click", () => pair.leave());
$("leave-app").addEventListener("click", () => pair.disconnect());
$("mute").addEventListener("click", () => pair.mute(pair.microphone !== "muted"));
$("next").addEventListener("click", () => pair.next());
$("hangup").addEventListener("click", () => pair.hangup());
$("again").addEventListener("click", () => ($("again").textContent === "Start over" ? show("you") : connect()));
$("block").addEventListener("click", () => pair.block());
$("report").addEventListener("click", writeReport);
$("report-dialog").addEventListener("close", closeReport);
$("words").addEventListener("input", () => pair.typing());
$("sound").addEventListener("click", () => {
  $("far").play();
  $("sound").hidden = true;
});

showMicrophone(pair.microphone);
shield();
show("you");
