// What a `Pair` is at the moment: its connection, its place in the queue, its call. `pair.js` is what an app may ask of it; here
// is what the server says, and what follows from it.

import { Call } from "./call.js";
import { Connection } from "./connection.js";
import { PairError } from "./errors.js";
import { Line } from "./line.js";
import { Microphone } from "./microphone.js";
import { Transcript } from "./transcript.js";

/** A server that does not say how many texts it takes at once keeps to this. */
const TEXT_BURST = 10;

export class Session {
  #asking = 0; // which `queue` is the one under way
  #line = null; // ready for the next call
  #toldMicrophone = "on"; // what the partner believes

  state = "offline";
  welcome = null;
  criteria = {};
  call = null;
  left = null; // the call that `next` was asked in
  transcript = new Transcript();

  constructor(url, constraints, emit) {
    this.emit = emit;
    this.microphone = new Microphone(constraints, {
      state: (state) => this.#microphoneIs(state),
      track: (track) => this.call?.useTrack(track) ?? this.#line?.useTrack(track),
    });
    this.connection = new Connection(url, {
      welcomed: (message) => this.#welcomed(message),
      resumed: (message, elsewhere) => this.#resumed(message, elsewhere),
      message: (message, asked) => this.#receive(message, asked),
      away: (resuming) => this.emit("connection", { resuming }),
      over: (why) => this.#over(why),
    });
  }

  // --- what the server says ---

  #welcomed(message) {
    this.welcome = message;
    if (message.ice) this.#line = new Line(message.ice, null);
    this.setState("idle");
  }

  /** The session stands where the server says, whatever was believed here. */
  #resumed(message, elsewhere) {
    this.welcome = message;
    if (elsewhere) this.#movedIn(message);
    const asks = this.connection.unheard("queue") + this.connection.unheard("next") > 0;
    if (message.resumed.state === "idle" && this.state === "queued" && !this.call && !asks) this.requestQueue();
  }

  /** Another node has taken us in, our own is dead: who waited waits there, a call is over, and what was made ready is of no use. */
  #movedIn({ resumed, ice }) {
    this.#line?.close();
    this.#line = ice ? new Line(ice, null) : null;
    const state = resumed.state === "queued" ? "queued" : "idle";
    if (this.call) this.endCall({ by: "server", why: "lost" }, state);
    else if (this.state !== state) this.setState(state);
  }

  #receive(message, asked) {
    const forCall = message.call !== undefined && message.call === this.call?.id;
    switch (message.t) {
      case "queued": return this.#queued(message);
      case "position": return this.emit("position", place(message));
      case "matched": return this.#matched(message);
      case "error": return this.#refused(message, asked);
      case "offer": case "answer": return forCall && this.call.describe(message);
      case "cand": return forCall && this.call.candidate(message);
      case "connected": return forCall && this.#connected(message);
      case "text": return forCall && this.remember({ from: "peer", k: message.k, text: message.b, tag: message.tag });
      case "typing": return forCall && this.emit("typing", {});
      case "restart": return forCall && this.#restarted(message);
      case "peer": return forCall && this.emit("peer", { state: message.s });
      case "quality": return forCall && this.#relayHears(message);
      case "ended": return forCall && this.#ended(message);
      case "blocked": return this.emit("blocked", {});
      case "reported": return this.#reported();
      case "drain": return this.emit("drain", { inMs: message.in_ms, to: message.to });
      case "tuned": return this.emit("tuned", {});
      case "trace": return this.emit("trace", { call: message.call, atMs: message.at_ms, step: message.step });
      case "tracing": case "left": return;
      default: return this.emit("other", { message }); // a newer server may say more than this client knows
    }
  }

  #reported() {
    this.transcript.cancelReport();
    this.emit("reported", {});
  }

  #queued(message) {
    if (this.state !== "queued") return; // left before the answer came
    if (message.ice) this.#ready().serve(message.ice);
    this.emit("queued", place(message));
  }

  #refused(message, { t: asked, k } = {}) {
    const error = new PairError(message.code, message.msg, message.retry_ms);
    if (this.connection.resuming && message.fatal) return message.code === "E_BUSY" || this.connection.drop("lost", error); // full: it tries again
    if (asked === "next") return this.#nextRefused(message);
    if (asked === "hangup" || asked === "leave") return; // it was over already: that is what was asked for
    if (asked === "mic") return; // an older server, or a call that has just ended
    if (asked === undefined && message.code === "E_CALL") return; // a frame of ours crossed the end of its call
    if (asked === "queue" && this.state === "queued") this.rest();
    if (asked === "text") this.transcript.refused(k);
    this.connection.refuseHello(error);
    this.#emitError(message, asked, k);
  }

  /** The partner was quicker: that call is over, so wait as asked. Anything else is a real no, to the waiting but not to the leaving. */
  #nextRefused(message) {
    if (this.state !== "queued") return;
    if (message.code === "E_CALL" || message.code === "E_STATE") return this.requestQueue();
    this.connection.request("hangup", { call: this.left });
    this.rest();
    this.#emitError(message, "next");
  }

  #emitError({ code, msg, retry_ms, fatal }, asked, k) {
    this.emit("error", { code, message: msg ?? code, retryMs: retry_ms, fatal: fatal === true, asked, ...(k === undefined ? {} : { k }) });
  }

  // --- waiting ---

  /** The offer lies in the ticket, so that whoever comes can answer it at once. */
  async requestQueue() {
    const asking = ++this.#asking;
    this.setState("queued");
    const line = this.#ready();
    const sdp = await line.offer().catch(() => null);
    if (asking !== this.#asking || this.state !== "queued") return;
    line.inTicket = sdp !== null;
    this.connection.request("queue", { ...this.criteria, ...(sdp === null ? {} : { offer: { gen: 1, sdp } }) });
  }

  #ready() {
    this.#line ??= new Line(null, null);
    this.#line.useTrack(this.microphone.track).catch(() => {});
    return this.#line;
  }

  /** Waits no longer: nothing stays open for it. */
  rest() {
    this.#asking += 1;
    this.#line?.close();
    this.#line = null;
    this.microphone.close();
    this.setState("idle");
  }

  // --- the call ---

  #matched(message) {
    this.connection.send({ t: "ack", call: message.call }); // before anything that takes time: it proves that somebody is awake
    if (this.state !== "queued") return this.connection.request("hangup", { call: message.call }); // crossed our `leave`
    if (message.moved) this.#moveLine(message.ice);
    const line = this.#ready();
    this.#line = null;
    this.call = new Call(message, line, {
      send: (fields) => this.connection.send(fields),
      emit: (type, detail) => this.emit(type, detail),
    });
    this.#toldMicrophone = "on";
    this.#tellMicrophone();
    this.call.start(message.offer);
    this.setState("matched");
    this.emit("matched", { call: message.call, role: message.role, peer: message.peer ?? {}, path: this.call.path });
  }

  /** Another relay has the call: what was made ready for this one, offer included, is of no use there. */
  #moveLine(ice) {
    this.#line?.close();
    this.#line = new Line(ice, null);
  }

  #connected(message) {
    this.setState("talking");
    this.emit("connected", { call: message.call, setupMs: message.setup_ms });
  }

  /** A server that says so much of both sides wants to know how its stream arrives here, too. */
  #relayHears({ up, down, your, their }) {
    if (your) this.call.reports();
    this.emit("relay", { up, down, your: side(your), their: side(their) });
  }

  #restarted(message) {
    this.call.restart(message);
    this.emit("restart", { gen: message.gen });
  }

  #ended({ by, why, requeued = false }) {
    this.endCall({ by, why }, requeued ? "queued" : "idle");
  }

  /** Media, then text, then the news: when `ended` is heard there is nothing left to stop or to read. */
  endCall(detail, state) {
    const call = this.call;
    this.call = null;
    call.close();
    this.transcript.close(call.id);
    this.connection.forget(call.id);
    if (state === "idle") this.microphone.close();
    this.setState(state);
    this.emit("ended", { call: call.id, requeued: state === "queued", ...detail });
  }

  /** The connection is over, whoever ended it: so is the call, and nothing of it stays. */
  #over(why) {
    this.welcome = null;
    this.#asking += 1;
    if (this.call) this.endCall({ by: "server", why: "lost" }, "idle");
    this.transcript.forget();
    this.#line?.close();
    this.#line = null;
    this.microphone.close();
    this.setState("offline", { why });
  }

  remember(line) {
    this.transcript.remember(line);
    this.emit("text", line);
    return line;
  }

  // --- telling the partner and the app ---

  #microphoneIs(microphone) {
    this.#tellMicrophone();
    this.emit("microphone", { microphone });
  }

  /** A microphone that is away or muted is a state the partner hears of; nobody is told "on" who never heard otherwise. */
  #tellMicrophone() {
    const state = { on: "on", muted: "muted" }[this.microphone.state] ?? "ended";
    if (!this.call || this.microphone.state === "asking" || state === this.#toldMicrophone) return;
    this.#toldMicrophone = state;
    this.connection.request("mic", { call: this.call.id, s: state });
  }

  expect(state) {
    if (this.state !== state) throw new PairError("E_STATE", `this needs state "${state}", not "${this.state}"`);
  }

  expectCall() {
    if (!this.call) throw new PairError("E_STATE", "no call");
    return this.call.id;
  }

  /** No more than the server takes at once: the rest would be refused when the connection is back. */
  expectRoomForText() {
    const room = this.welcome?.limits?.text_burst ?? TEXT_BURST;
    if (this.connection.unheard("text") >= room) throw new PairError("E_RATE", "what was typed before has not arrived yet");
  }

  /** The call that can be blocked or reported: this one, or the last. */
  reachable(why) {
    const call = this.call?.id ?? this.transcript.lastCall;
    if (!call) throw new PairError("E_STATE", `nobody to ${why}`);
    return call;
  }

  setState(state, detail = {}) {
    if (state === this.state) return;
    const previous = this.state;
    this.state = state;
    this.emit("state", { state, previous, ...detail });
  }
}

/** What the relay knows of one side; null is unknown. */
function side({ up, down } = {}) {
  return {
    up: up ? { packets: up.packets, missing: up.missing, reordered: up.reordered, lost: up.lost, jitterMs: up.jitter_ms, silent: up.silent ?? null, rttMs: up.rtt_ms ?? null, mos: up.mos ?? null, profile: up.profile ?? null } : null,
    down: down ? { lost: down.lost, jitterMs: down.jitter_ms } : null,
  };
}

/** Where a ticket stands. `eta` stays null when the server does not know: a guess is never invented. */
function place({ ahead, eta, stage, hint }) {
  return { ahead, eta: eta ?? null, stage: stage ?? 0, hint: hint ? { relax: hint.relax, wouldMatch: hint.would_match } : null };
}
