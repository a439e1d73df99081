// Each panel: what of the looks it shows, and how.

import { $, bar, columns, make, sparkline, write } from "./draw.js";
import { rate } from "./metrics.js";
import * as words from "./words.js";

/** What a tile shows: a gauge's value, or how fast counters grow. */
const gauge = (name) => ({ line: (look) => look.sum(name), now: (history) => history.latest.sum(name) });
const speed = (name, where) => ({ line: (look, before) => rate(before, look, name, where), now: (history) => history.rate(name, where) });

const WORKERS = "relay_worker_busy_seconds_total";
const busiest = (of) => (history) => {
  const shares = history.latest.values(WORKERS, "worker").map((worker) => of(history, worker)).filter((share) => share !== undefined);
  return shares.length === 0 ? undefined : Math.max(...shares);
};
const BUSIEST = {
  line: (look, before) => busiest((_, worker) => rate(before, look, WORKERS, { worker }))({ latest: look }),
  now: busiest((history, worker) => history.rate(WORKERS, { worker })),
};

/** Name, what it shows, with which unit, a line below, and what fills the chart. */
const TILES = [
  ["calls", "Calls", gauge("relay_calls"), words.count, (history) => `${words.perSecond(history.rate("relay_matches_total"))} new`],
  ["waiting", "Waiting", gauge("relay_queue_tickets"), words.count, waits],
  ["sessions", "Connected", gauge("relay_signalling_sessions"), words.count, (history) => `${words.perSecond(history.rate("relay_signalling_welcomes_total"))} came in`],
  ["allocations", "Allocations", gauge("relay_allocations"), words.count, (history) => `${words.perSecond(history.rate("relay_allocations_created_total"))} made`],
  ["packets", "Packets", speed("relay_packets_relayed_total"), words.perSecond, (history) => `${words.count(history.latest.sum("relay_packets_relayed_total"))} since start`],
  ["payload", "Payload", speed("relay_bytes_relayed_total"), words.megabits, perPacket],
  ["drops", "Drops", speed("relay_drops_total"), words.perSecond, (history) => `${words.count(history.latest.sum("relay_drops_total"))} since start`],
  ["busiest", "Busiest worker", BUSIEST, words.percent, (history) => `of ${history.latest.values(WORKERS, "worker").length} workers`, 1],
];

function waits(history) {
  const wait = history.histogram("relay_match_wait_seconds");
  return wait.count === 0 ? "nobody was matched yet" : `median wait ${words.seconds(wait.quantile(0.5))}`;
}

function perPacket(history) {
  const [packets, bytes] = ["packets", "bytes"].map((what) => history.rate(`relay_${what}_relayed_total`));
  return packets > 0 ? `${words.count(bytes / packets)} bytes a packet` : "nothing relayed now";
}

const QUALITY = [
  ["relay_call_uplink_loss_ratio", "Loss on the way here", words.percent, 0.9],
  ["relay_call_uplink_jitter_seconds", "Jitter on the way here", words.seconds, 0.9],
  ["relay_call_leg_rtt_seconds", "Round trip of a side", words.seconds, 0.9],
  ["relay_call_mos", "MOS, estimated", (value) => value.toFixed(1), 0.1],
];
const SETUP = [
  ["relay_match_wait_seconds", "matched, from the wish", words.seconds, 0.9],
  ["relay_call_first_packet_seconds", "the first packet", words.seconds, 0.9],
  ["relay_call_audible_seconds", "both can hear", words.seconds, 0.9],
  ["relay_call_setup_seconds", "both say connected", words.seconds, 0.9],
];

/** Everything that comes from `/metrics`. */
export function show(history) {
  const look = history.latest;
  write("version", look.label("relay_build_info", "version") ?? "");
  const talks = look.has("relay_calls");
  for (const part of document.querySelectorAll(".talk")) part.hidden = !talks;
  document.title = talks ? `${words.count(look.sum("relay_calls"))} calls · Relay` : "Relay";
  const undelivered = look.sum("relay_safety_reports_undelivered") ?? 0;
  $("urgent").hidden = undelivered === 0;
  write("urgent", undelivered === 0 ? "" : `${words.count(undelivered)} reports of a child's safety could not be delivered yet.`);
  for (const tile of TILES) showTile(history, ...tile);
  showHistograms(history, "quality", QUALITY);
  showHistograms(history, "setup", SETUP);
  showEnds(history);
  showPaths(history);
  showWorkers(history);
  showDrops(history);
  if ($("table").open) showPast(history);
}

function showTile(history, name, title, { line, now }, unit, sub, most = 0) {
  write(name, unit(now(history)));
  write(`${name}-sub`, sub(history));
  $(`${name}-chart`).replaceChildren(sparkline(history.line(line), title, unit, most));
}

/** Only what has been measured: a histogram that is missing or empty is no row, and never noughts. */
function showHistograms(history, name, families) {
  const measured = families.map(([family, ...how]) => [history.histogram(family), ...how]).filter(([histogram]) => histogram.count > 0);
  $(name).hidden = measured.length === 0;
  $(`${name}-none`).hidden = measured.length > 0;
  const recent = measured.some(([histogram]) => histogram.isRecent);
  write(`${name}-when`, measured.length === 0 ? "" : recent ? "in the last five minutes" : "since the start; none in the last five minutes");
  $(`${name}-rows`).replaceChildren(...measured.map(([histogram, title, unit, worst]) => {
    const bound = ({ bound }) => (bound === Infinity ? "more" : `up to ${unit(bound)}`);
    return row(title, unit(histogram.quantile(0.5)), unit(histogram.quantile(worst)), columns(histogram.buckets, title, bound));
  }));
}

function showEnds(history) {
  const name = "relay_calls_ended_total";
  const ends = history.latest.values(name, "reason").map((reason) => [reason, history.growth(name, { reason })]).filter(([, ended]) => ended > 0);
  const told = ends.map(([reason, ended]) => `${words.count(ended)} ${words.ENDS[reason] ?? words.plain(reason)}`);
  write("ended", told.length === 0 ? "" : `Ended in the last five minutes: ${told.join(" · ")}`);
}

function showPaths(history) {
  const name = "relay_packets_relayed_total";
  $("paths").replaceChildren(...history.latest.values(name, "path").map((path) => {
    const of = { path };
    const title = words.PATHS[path] ?? words.plain(path);
    const line = history.line((look, before) => rate(before, look, name, of));
    const [packets, bytes] = [history.rate(name, of), history.rate("relay_bytes_relayed_total", of)];
    return row(title, words.perSecond(packets), words.megabits(bytes), words.count(history.latest.sum(name, of)), sparkline(line, `Packets ${title.toLowerCase()}`, words.perSecond));
  }));
}

function showWorkers(history) {
  const look = history.latest;
  $("workers").replaceChildren(...look.values(WORKERS, "worker").map((worker) => {
    const of = { worker };
    const share = history.rate(WORKERS, of);
    const picture = bar(share ?? 0, `Worker ${worker}: ${words.percent(share)} of its time`);
    picture.classList.add("thin");
    return row(worker, words.percent(share), words.count(look.sum("relay_allocations", of)), words.perSecond(history.rate("relay_packets_relayed_total", of)), picture);
  }));
  const [streams, sockets] = [look.sum("relay_streams"), look.sum("relay_relayed_sockets")];
  write("streams", `Clients over TCP and TLS: ${words.count(streams)} · relayed sockets: ${words.count(sockets)}`);
}

function showDrops(history) {
  const name = "relay_drops_total";
  const of = (reason) => {
    const line = history.line((look, before) => rate(before, look, name, { reason }));
    const title = words.OVERFLOW[reason] ?? words.plain(reason);
    const shown = row(title, words.perSecond(history.rate(name, { reason })), words.count(history.latest.sum(name, { reason })), sparkline(line, title, words.perSecond));
    shown.classList.add("alarm");
    shown.dataset.reason = reason;
    return shown;
  };
  const reasons = history.latest.values(name, "reason");
  $("overflow").replaceChildren(...reasons.filter((reason) => reason in words.OVERFLOW).map(of));
  const others = reasons.filter((reason) => !(reason in words.OVERFLOW) && history.latest.sum(name, { reason }) > 0);
  $("dropped").hidden = others.length === 0;
  $("dropped-none").hidden = others.length > 0;
  const most = (reason) => history.latest.sum(name, { reason });
  $("dropped-rows").replaceChildren(...others.sort((a, b) => most(b) - most(a)).map(of));
}

/** What the charts show, one line for every half minute and the newest. */
export function showPast(history) {
  const lines = TILES.map(([, , { line }]) => history.line(line));
  const times = history.looks.map(({ at }) => at);
  const shown = times.map((_, place) => times.length - 1 - place).filter((place) => (times.length - 1 - place) % 15 === 0);
  $("past").replaceChildren(...shown.map((place) => row(words.clock(times[place]), ...TILES.map(([, , , unit], tile) => unit(lines[tile][place].value)))));
}

/** A row of a table: its head, numbers, and perhaps a picture. */
function row(head, ...cells) {
  const shown = cells.map((cell) => (typeof cell === "string" ? make("td", { class: "number" }, cell) : make("td", { class: "trend" }, cell)));
  return make("tr", {}, make("th", { scope: "row" }, head), ...shown);
}

/** What `/v1/cluster` says, if there is one. */
export function showNodes(cluster) {
  $("nodes-card").hidden = cluster === undefined;
  if (cluster === undefined) return;
  write("nodes-bus", words.BUS[cluster.bus] ?? words.plain(cluster.bus));
  $("nodes").replaceChildren(...cluster.nodes.map(({ node, here, ready, draining, matches, same_settings: alike, calls, sessions, room, age_ms: age, version }) => {
    const state = words.node({ ready, draining, matches, alike });
    const heard = here ? "this one" : `${words.seconds(age / 1000)} ago`;
    return row(node, state, words.count(calls), words.count(sessions), words.percent(room / 100), heard, version);
  }));
}

/** What `/v1/waiting` says. */
export function showWaiting({ together, groups, appointments }) {
  const cell = (kind, ...children) => make("td", { class: kind, role: "cell" }, ...children);
  const rows = groups.map((group) => {
    const [word, help] = words.starved(group);
    const why = cell("help", make("b", {}, word), make("small", {}, help));
    const people = cell("number", `${words.count(group.people)} or more`);
    return make("tr", { role: "row" }, cell("", words.cohort(group.cohort)), cell("", words.level(group.lvl)), cell("", words.wants(group.gender)), people, cell("number", words.wait(group.longest_secs)), why);
  });
  if (rows.length === 0) rows.push(make("tr", { role: "row" }, make("td", { class: "nothing", role: "cell", colspan: 6 }, "No group of ten or more waits.")));
  $("groups").replaceChildren(...rows);
  const booked = appointments > 0 ? ` ${words.count(appointments)} or more wait for an appointment.` : "";
  write("groups-note", `Groups of fewer than ${together} are told together as “several”, or not at all; people in whole tens, waits in steps of five seconds, so that nobody can be made out.${booked}`);
}
