// The page: one `Pair`, five screens, and words for what happens. Text from a partner is only ever set as text.

import { Pair } from "./pair.js";
import { wireDevices } from "./app/devices.js";
import { $, button, chosen, note, onSubmit, say, show, toast, write } from "./app/dom.js";
import { meter } from "./app/meter.js";
import { wireReport } from "./app/report.js";
import * as words from "./app/words.js";

const TOPICS_MAX = 5;

const pair = new Pair({ token: demoToken });
let since = 0; // when the clock on the screen started

/** For local use the daemon signs what the form says; in an app its own backend does, and there is no such form. */
async function demoToken() {
  const body = { name: $("name").value.trim() || "Someone", lvl: chosen("lvl")[0], band: chosen("band")[0], g: chosen("g")[0], gp: ["f", "m", "x"] };
  const response = await fetch("/demo/token", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  if (!response.ok) throw Object.assign(new Error("no demo token"), { code: response.status === 404 ? "E_NO_DEMO" : "E_OFFLINE" });
  return (await response.json()).token;
}

// --- what happens ---

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
  relay: showRelay,
  peer: ({ state }) => showPeer(state),
  connection: ({ resuming }) => showOwnConnection(resuming),
  safety: ({ code }) => showSafety(code),
  blocked: () => toast("You will not meet them again."),
  restart: () => say("Looking for new paths."),
  reported: () => toast("Your report has arrived. Thank you."),
  drain: () => toast("This server will stop soon. Your call can go on until then."),
  ended: showEnded,
  error: showProblem,
};
for (const [type, act] of Object.entries(SHOWS)) pair.addEventListener(type, (event) => act(event.detail));

/** What the form can change, or nothing at all: then back to the form instead of the same answer again. */
const NEEDS_FORM = new Set(["left", "E_AGE", "E_TOKEN", "token"]);

function offline(why) {
  if (why === "left") return show("you");
  $("again").textContent = NEEDS_FORM.has(why) ? "Start over" : "Try again";
  $("offline-why").textContent = words.OFFLINE[why] ?? "The connection to the server was lost.";
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
    const said = document.createElement("span");
    said.textContent = name;
    label.append(input, said);
    return label;
  }));
}

function limitTopics() {
  const full = chosen("topic").length >= TOPICS_MAX;
  for (const input of document.querySelectorAll('input[name="topic"]')) input.disabled = full && !input.checked;
}

// --- waiting ---

/** What the form says, as the server wants it. */
function wishes() {
  return {
    topics: chosen("topic").map(Number),
    topic_mode: $("topic-mode").checked ? "require" : "prefer",
    gender: chosen("gender"),
    max_dist: Number(chosen("dist")[0]),
  };
}

async function find() {
  if (chosen("gender").length === 0) return toast("Choose at least one kind of person to talk to.");
  $("find").disabled = true;
  try {
    await pair.queue(wishes());
  } catch (error) {
    toast(error.message);
  } finally {
    $("find").disabled = false;
  }
}

function waiting() {
  showPlace({ ahead: null, eta: null, stage: 0, hint: null });
  since = Date.now();
  show("wait");
  listen();
  say("Looking for someone to talk to");
}

function showPlace({ ahead, eta, stage, hint }) {
  $("ahead").textContent = words.ahead(ahead);
  $("eta").textContent = words.wait(eta);
  write("widening", words.search(stage, $("topic-mode").checked));
  const help = hint ? words.hint(hint) : "";
  if ($("hint").textContent !== help) note("hint", help);
  $("relax").hidden = help === "";
  $("relax").value = hint?.relax ?? "";
}

/** Gives up the wish that the server says is in the way, in the form too; the place in the queue stays. */
function relax() {
  const all = (name) => document.querySelectorAll(`input[name="${name}"]`);
  const wish = $("relax").value;
  if (wish === "topics") $("topic-mode").checked = false;
  if (wish === "topics") for (const input of all("topic")) input.checked = false;
  if (wish === "level") [...all("dist")].at(-1).checked = true;
  if (wish === "gender") for (const input of all("gender")) input.checked = true;
  pair.tune(wishes());
  limitTopics();
  $("relax").hidden = true;
  $("screen-wait").querySelector("h1").focus();
}

/** The microphone's own meters, wherever they are shown. */
function listen() {
  for (const id of ["wait-level", "own-level", "sound-level"]) meter($(id), pair.localStream);
}

// --- in a call ---

function showPartner({ peer }) {
  const name = String(peer.card?.n ?? peer.card?.name ?? "Someone").slice(0, 40);
  const topics = (peer.topics ?? []).map((number) => pair.welcome?.topics?.[number]).filter(Boolean);
  $("partner").textContent = name;
  $("initial").textContent = [...name][0]?.toUpperCase() ?? "?";
  $("about").textContent = [peer.lvl && `${peer.lvl} · ${words.LEVELS[peer.lvl] ?? ""}`, topics.length > 0 && `you both chose ${topics.join(", ")}`].filter(Boolean).join(" · ");
  $("call-state").textContent = "Connecting…";
  $("clock").textContent = "";
  $("quality").dataset.grade = "none";
  $("quality-text").textContent = "Measuring";
  $("quality-numbers").textContent = "";
  note("peer-microphone", "");
  note("relay-quality", "");
  write("relay-numbers", "");
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
  meter($("face"), stream);
}

function showText({ from, k, text }) {
  const line = document.createElement("li");
  if (from === "self") line.dataset.k = k;
  const who = document.createElement("span");
  who.className = "visually-hidden";
  who.textContent = from === "self" ? "You: " : `${$("partner").textContent}: `;
  line.className = from;
  line.append(who, text);
  $("log").append(line);
  $("log-region").scrollTop = $("log-region").scrollHeight;
}

function showProblem({ code, message, asked, k }) {
  const lost = asked === "text" && document.querySelector(`#log li.self[data-k="${Number(k)}"]`);
  if (lost && !lost.classList.contains("undelivered")) {
    lost.classList.add("undelivered");
    lost.append(Object.assign(document.createElement("small"), { textContent: "Not delivered" }));
  }
  toast((asked === "text" ? "Your message did not arrive. " : "") + (words.PROBLEMS[code] ?? `The server said no: ${message}`));
}

/** How both voices reach the relay, as it hears them: in words only while one of them has gaps. */
function showRelay({ up, down, your, their }) {
  note("relay-quality", words.relay(up, down));
  write("relay-numbers", words.sides(your, their));
}

function showQuality({ grade, rttMs, loss, jitterMs, local, remote }) {
  $("quality").dataset.grade = grade;
  write("quality-text", words.GRADES[grade]);
  const figure = (value, unit) => (value === null ? "–" : `${value} ${unit}`);
  const lost = loss === null ? null : Math.round(loss * 1000) / 10;
  $("quality-numbers").textContent = `round trip ${figure(rttMs, "ms")} · lost ${figure(lost, "%")} · jitter ${figure(jitterMs, "ms")} · ${local ?? "?"}\u00a0↔\u00a0${remote ?? "?"}`;
  shield();
}

/** In a call: what the chosen candidate pair says. Before it: what the server's policy promises. */
function shield() {
  const promised = !pair.welcome ? null : pair.welcome.policy?.direct === true ? "shown" : "hidden";
  const path = pair.call?.path ?? promised ?? "checking";
  const said = {
    hidden: pair.call ? "Your address is hidden" : "Your address will be hidden",
    shown: pair.call ? "Addresses are shown" : "Partners see each other’s address",
    checking: pair.call ? "Checking the path…" : "Not connected",
  }[path];
  $("shield").dataset.path = path;
  write("shield-text", said);
  $("promise").textContent = promised === "shown"
    ? "On this server two callers connect directly when they can: your partner’s device learns your internet address, and you learn theirs."
    : "Your voice goes through our relay, encrypted end to end. Your partner never learns your internet address.";
}

function showPeer(state) {
  if (words.PEER[state]) {
    $("call-state").textContent = words.PEER[state];
    say(words.PEER[state]);
  }
  if (state === "mic_off" || state === "mic_on") note("peer-microphone", state === "mic_off" ? "Your partner’s microphone is off." : "");
}

function showOwnConnection(resuming) {
  $("own-connection").hidden = !resuming || !pair.call;
  say(resuming ? "Your connection broke. Reconnecting." : "Connected again.");
}

function showSafety(code) {
  $("safety").hidden = !code;
  $("safety-code").textContent = code ?? "";
}

function showMicrophone(state) {
  for (const id of ["wait-microphone", "call-microphone"]) {
    $(id).textContent = words.MICROPHONE[state];
    $(id).dataset.state = state;
    if (state === "refused" || state === "missing" || state === "lost") $(id).append(button("Try it again", () => pair.openMicrophone()));
  }
  const muted = state === "muted";
  $("mute").setAttribute("aria-pressed", String(muted));
  $("mute").disabled = state !== "on" && !muted;
  if (pair.state !== "idle") listen();
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
  meter($("face"), null);
  if (!requeued) listen();
  const said = by === "self" ? "" : words.ENDS[why] ?? "The call is over.";
  note(requeued ? "next-note" : "ended-note", said);
  if (said) say(said);
}

setInterval(() => {
  const seconds = Math.floor((Date.now() - since) / 1000);
  if (pair.state === "queued") $("waited").textContent = `${seconds} s`;
  if (pair.state === "talking") $("clock").textContent = words.clock(seconds);
}, 250);

// --- what the person does ---

onSubmit("screen-you", connect);
onSubmit("screen-wish", find);
onSubmit("say", () => {
  const typed = $("words").value.trim();
  try {
    if (typed && pair.call) pair.sendText(typed);
    $("words").value = "";
  } catch (error) {
    toast(words.PROBLEMS[error.code] ?? error.message); // what was typed stays where it is
  }
});
$("topics").addEventListener("change", limitTopics);
$("relax").addEventListener("click", relax);
$("leave").addEventListener("click", () => pair.leave());
$("leave-app").addEventListener("click", () => pair.disconnect());
$("mute").addEventListener("click", () => pair.mute(pair.microphone !== "muted"));
$("next").addEventListener("click", () => pair.next());
$("hangup").addEventListener("click", () => pair.hangup());
$("again").addEventListener("click", () => ($("again").textContent === "Start over" ? show("you") : connect()));
$("block").addEventListener("click", () => pair.block());
$("words").addEventListener("input", () => pair.typing());
$("sound").addEventListener("click", () => {
  $("far").play();
  $("sound").hidden = true;
});

wireDevices(pair);
wireReport(pair);
showMicrophone(pair.microphone);
shield();
show("you");
