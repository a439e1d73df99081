// The dashboard: looks at the relay every two seconds, shows what it sees, and says so when there is no answer.

import { $, write } from "./draw.js";
import { History, Look } from "./metrics.js";
import { show, showNodes, showPast, showWaiting } from "./panels.js";
import { clock } from "./words.js";

const LOOK_MS = 2_000;
/** Who waits is counted anew every five seconds at most. */
const WAITING_MS = 5_000;
const PATIENCE_MS = 8_000;
const LONGEST_PAUSE_MS = 30_000;

const history = new History();
let paused = false;
let timer = 0; // of the next look
let next = 0; // when it is due
let lostSince = 0; // when the first look failed, or 0
let failures = 0;
let waitingAt = 0; // when the groups were asked for
let turn = 0; // of looks: an older one that is still on its way counts no more

async function ask(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  return { status: response.status, ok: response.ok, text: await response.text() };
}

async function look() {
  const mine = ++turn;
  const counts = () => mine === turn && !paused;
  try {
    const [metrics, ready] = await Promise.all([ask("/metrics"), ask("/readyz")]);
    if (!metrics.ok) throw new Error(`/metrics: ${metrics.status}`);
    const health = ready.text.trim().split("\n");
    if (!counts()) return;
    history.add(new Look(metrics.text, Date.now()));
    const wants = history.latest.has("relay_calls") && Date.now() - waitingAt >= WAITING_MS;
    const waiting = wants ? await ask("/v1/waiting") : undefined;
    const nodes = history.latest.has("relay_cluster_nodes") ? await ask("/v1/cluster") : undefined;
    if (!counts()) return;
    found(ready.status, health);
    show(history);
    showNodes(nodes?.ok ? JSON.parse(nodes.text) : undefined);
    if (waiting?.ok) {
      waitingAt = Date.now();
      showWaiting(JSON.parse(waiting.text));
    }
  } catch {
    if (counts()) lost();
  }
  if (counts()) later(Math.min(LOOK_MS * 2 ** failures, LONGEST_PAUSE_MS));
}

function later(pause) {
  clearTimeout(timer);
  next = Date.now() + pause;
  timer = setTimeout(look, pause);
}

function found(status, [first, ...capacity]) {
  failures = 0;
  lostSince = 0;
  $("lost").hidden = true;
  write("lost-text", "");
  delete document.body.dataset.lost;
  $("health").dataset.state = status === 200 ? "ready" : "not";
  write("health-text", first.charAt(0).toUpperCase() + first.slice(1));
  write("capacity", capacity.join(" ").replaceAll("%", " %"));
  write("stamp", clock(Date.now()));
}

function lost() {
  failures += 1;
  lostSince ||= history.latest?.at ?? Date.now();
  document.body.dataset.lost = "";
  $("health").dataset.state = "lost";
  write("health-text", "No answer");
  write("capacity", "");
  $("lost").hidden = false;
  const shown = history.latest === undefined ? "" : " What is shown is of then.";
  write("lost-text", `The relay has not answered since ${clock(lostSince)}.${shown}`);
}

/** Beside what is read aloud, which must not be said anew each second. */
function countDown() {
  if (lostSince === 0 || paused) return;
  const left = Math.max(0, Math.ceil((next - Date.now()) / 1000));
  $("lost-next").textContent = left === 0 ? "Trying…" : `Next try in ${left} s.`;
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").textContent = paused ? "Resume" : "Pause";
  clearTimeout(timer);
  if (paused) write("stamp", `Paused at ${clock(Date.now())}`);
  else look();
});
$("again").addEventListener("click", () => {
  clearTimeout(timer);
  look();
});
$("table").addEventListener("toggle", () => history.latest && showPast(history));
setInterval(countDown, 1_000);
look();
