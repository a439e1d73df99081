// A small client for `pair.v1`: be matched with a stranger, talk, type, hang up. No dependency, no build step.
//
//   import { Pair } from "./pair.js";
//   const pair = new Pair({ url: "wss://voice.example/v1/ws", token: async () => (await fetch("/my/token")).text() });
//   pair.addEventListener("stream", (event) => { audio.srcObject = event.detail.stream; });
//   await pair.connect();
//   await pair.queue({ topics: [3, 17] });
//
// Everything that happens is an event; `pair.d.ts` lists them with their fields. The server decides who talks to whom and
// when a call is over; this file only obeys at once. What it never does: keep text after a call, send a candidate that is
// not a relay's while the server's policy is "relay", or treat a refused microphone as a failure.

import { Call } from "./call.js";

const SUBPROTOCOL = "pair.v1";
/** Longest transcript kept, and only for as long as the call lasts. */
const TEXTS_MAX = 200;
/** What is said while the connection is away waits for it, up to this many frames. */
const UNSENT_MAX = 64;
/** How long to wait before the second, third … attempt to resume. */
const RESUME_PAUSES_MS = [0, 300, 700, 1500, 3000, 3000, 3000, 3000];
/** Closing with this says that the session will be resumed. */
const WILL_RESUME = 4000;
/** For a report: texts in it, and bytes, so that its frame stays within the server's limit. */
const EVIDENCE_MAX = 50;
const EVIDENCE_MAX_BYTES = 12000;
/** The last partner can be blocked or reported for so long. */
const LAST_CALL_MS = 600_000;
/** `text` longer than this is refused by the server. */
const TEXT_MAX_CHARS = 2000;
const MICROPHONE = { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true }, video: false };

/** What the server, or the lack of one, said no to. `code` is a `pair.v1` error code or `E_OFFLINE`. */
export class PairError extends Error {
  constructor(code, message, retryMs) {
    super(message || code);
    this.name = "PairError";
    this.code = code;
    this.retryMs = retryMs;
  }
}

export class Pair extends EventTarget {
  #url;
  #token;
  #constraints;
  #socket = null;
  #heartbeat = 0;
  #requests = 0;
  #pending = new Map(); // request number → what it asked for
  #hello = null; // { resolve, reject } while connecting
  #criteria = {};
  #call = null;
  #left = null; // the call that `next` was asked in
  #session = null; // { sid, key }: what a broken connection is resumed with
  #n = 0; // the last numbered frame that arrived
  #unsent = []; // said while the connection is away
  #resuming = null; // { until, attempt, timer } while the connection is away
  #last = null; // { call, at }: the call before, for `block` and `report`
  #draft = null; // { call, evidence }: a report being written
  #ice = null; // the ticket's, until `matched` brings the call's
  #stream = null; // the microphone
  #asked = 0; // which request for the microphone still counts
  #muted = false;

  /** "offline" | "connecting" | "idle" | "queued" | "matched" | "talking" */
  state = "offline";
  /** "off" | "asking" | "on" | "muted" | "refused" | "missing" | "lost" */
  microphone = "off";
  /** The server's `welcome`, while there is a connection. */
  welcome = null;
  /** What both sides typed in this call, oldest first; emptied the moment it ends. */
  texts = [];

  constructor({ url, token, microphone = MICROPHONE } = {}) {
    super();
    if (typeof token !== "function") throw new TypeError("Pair needs `token`: an async function that returns one");
    this.#url = url ?? new URL("/v1/ws", globalThis.location.href.replace(/^http/, "ws")).href;
    this.#token = token;
    this.#constraints = microphone;
    globalThis.addEventListener?.("online", () => this.#networkChanged());
  }

  /** The connection broke and is being resumed; a call goes on meanwhile. */
  get resuming() {
    return this.#resuming !== null;
  }

  /** Id, partner and path of the call under way, or null. */
  get call() {
    return this.#call && { id: this.#call.id, peer: this.#call.peer, path: this.#call.path, safetyCode: this.#call.safetyCode };
  }

  /** The microphone's stream while it is open, for a level meter. */
  get localStream() {
    return this.#stream;
  }

  /** Opens the socket and shows the token in the first frame: never in the address, which proxies log. */
  async connect() {
    if (this.state !== "offline") throw new PairError("E_STATE", "already connected");
    this.#setState("connecting");
    try {
      const token = await this.#token();
      this.#expect("connecting");
      return await new Promise((resolve, reject) => {
        this.#hello = { resolve, reject };
        this.#socket = this.#open(token);
      });
    } catch (error) {
      if (this.state === "connecting") this.#drop(error.code ?? "E_OFFLINE", error);
      throw error;
    }
  }

  disconnect() {
    this.#drop("left");
  }

  /**
   * Opens the microphone if it can be had, then waits for a partner. Resolves when the ticket is on its way; a
   * microphone that was refused shows in `microphone` and the wait goes on: one can still listen and type.
   */
  async queue(criteria = {}) {
    this.#expect("idle");
    await this.openMicrophone();
    this.#expect("idle");
    this.#criteria = criteria;
    this.#requestQueue();
  }

  /** Other wishes, the same place in the queue. */
  tune(criteria = {}) {
    this.#expect("queued");
    this.#criteria = criteria;
    this.#request("tune", criteria);
  }

  leave() {
    this.#expect("queued");
    this.#request("leave");
    this.#closeMicrophone();
    this.#setState("idle");
  }

  /** Ends this call and waits for the next partner, in one step on the server, with the same criteria. */
  next() {
    if (!this.#call) throw new PairError("E_STATE", "no call");
    this.#call.close();
    this.#left = this.#call.id;
    this.#request("next", { call: this.#left });
    this.#endCall({ by: "self", why: "next" }, "queued");
  }

  /** Silence first, then the message, then the news: nobody waits for an app's listeners. */
  hangup(why = "hangup") {
    if (!this.#call) return;
    this.#call.close();
    this.#request("hangup", { call: this.#call.id, why });
    this.#endCall({ by: "self", why }, "idle");
  }

  /** Where the server asks people (`welcome.policy.acceptance`): no voice passes until both have accepted. */
  accept() {
    if (!this.#call) throw new PairError("E_STATE", "no call");
    this.#request("accept", { call: this.#call.id });
  }

  decline() {
    if (!this.#call) throw new PairError("E_STATE", "no call");
    this.#request("decline", { call: this.#call.id });
  }

  /** New paths for the call; the server asks for them by itself when a side hears nothing. */
  restart() {
    if (!this.#call) throw new PairError("E_STATE", "no call");
    this.#request("restart", { call: this.#call.id });
  }

  /** Ends this call if it goes on, and never again meets this partner, or the last one. They hear that you hung up. */
  block() {
    const call = this.#reachable();
    if (!call) throw new PairError("E_STATE", "nobody to block");
    this.#call?.close();
    this.#request("block", { call });
  }

  /** A report is being written: what the partner said stays until it is delivered or cancelled, though the call may end. */
  beginReport() {
    const call = this.#reachable();
    if (!call) throw new PairError("E_STATE", "nobody to report");
    this.#draft ??= { call, evidence: null, timer: setTimeout(() => this.cancelReport(), LAST_CALL_MS) };
  }

  cancelReport() {
    clearTimeout(this.#draft?.timer);
    this.#draft = null;
  }

  /** Sends what `beginReport` began; the `reported` event says that it has arrived, `E_REPORT_RETRY` that it has not. */
  report({ category, note, end = false } = {}) {
    this.beginReport();
    const { call, evidence } = this.#draft;
    const ev = evidence ?? this.#evidence();
    this.#request("report", { call, cat: category, ...(note ? { note: String(note).slice(0, 500) } : {}), ev, end });
  }

  /** That somebody is typing; say it as often as you like. */
  typing() {
    if (this.#call) this.#send({ t: "typing", call: this.#call.id });
  }

  #reachable() {
    if (this.#call) return this.#call.id;
    return this.#last && Date.now() - this.#last.at < LAST_CALL_MS ? this.#last.call : null;
  }

  /** The partner's last texts with their tags, as many as fit. */
  #evidence() {
    const said = this.texts.filter((line) => line.from === "peer" && line.tag).slice(-EVIDENCE_MAX);
    const evidence = said.map(({ k, text, tag }) => ({ k, b: text, tag }));
    const size = () => new TextEncoder().encode(JSON.stringify(evidence)).length;
    while (size() > EVIDENCE_MAX_BYTES) evidence.shift();
    return evidence;
  }

  /** Returns what was sent, as the partner will get it, or null for nothing. Kept in memory for this call only. */
  sendText(text) {
    if (!this.#call) throw new PairError("E_STATE", "no call");
    const body = [...String(text)].slice(0, TEXT_MAX_CHARS).join("").replace(/\p{Surrogate}/gu, "\ufffd"); // halves of a character are not JSON
    if (body === "") return null;
    const k = ++this.#call.textsSent;
    this.#request("text", { call: this.#call.id, k, b: body });
    return this.#remember({ from: "self", k, text: body });
  }

  mute(muted = true) {
    this.#muted = muted;
    for (const track of this.#stream?.getAudioTracks() ?? []) track.enabled = !muted;
    if (this.microphone === "on" || this.microphone === "muted") this.#setMicrophone(muted ? "muted" : "on");
  }

  /** Asks for the microphone; may be called again after a refusal, also in mid-call. Never throws. */
  async openMicrophone() {
    if (this.#stream || this.microphone === "asking") return;
    const asked = ++this.#asked;
    this.#setMicrophone("asking");
    try {
      const stream = await navigator.mediaDevices.getUserMedia(this.#constraints);
      if (asked !== this.#asked) return stopTracks(stream); // answered after what it was for had ended
      this.#stream = stream;
      const [track] = stream.getAudioTracks();
      track.enabled = !this.#muted;
      track.addEventListener("ended", () => this.#microphoneLost(stream)); // revoked or unplugged; not fired by our own stop()
      await this.#call?.useTrack(track);
      this.#setMicrophone(this.#muted ? "muted" : "on");
    } catch (error) {
      if (asked === this.#asked) this.#setMicrophone(error?.name === "NotAllowedError" ? "refused" : "missing");
    }
  }

  #microphoneLost(stream) {
    if (this.#stream !== stream) return;
    this.#stream = null;
    this.#call?.useTrack(null);
    this.#setMicrophone("lost");
  }

  #closeMicrophone() {
    this.#asked += 1;
    stopTracks(this.#stream);
    this.#stream = null;
    this.#setMicrophone("off");
  }

  // --- the socket ---

  #open(token) {
    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    const current = (act) => (event) => socket === this.#socket && act(event);
    const resume = token === null ? { resume: { ...this.#session, n: this.#n } } : { token };
    socket.onopen = current(() => this.#sendNow({ t: "hello", q: ++this.#requests, v: [1], sdk: "pair.js/1", ...resume }));
    socket.onmessage = current((event) => this.#receive(event.data));
    socket.onclose = current((event) => this.#closed(event.code));
    return socket;
  }

  /** A connection that broke is resumed for as long as the server waits; one that was closed with a reason is over. */
  #closed(code) {
    const broke = code === 1006 || code === WILL_RESUME;
    if (!broke || !this.#session) return this.#drop(closeReason(code));
    this.#resume();
  }

  #resume() {
    clearInterval(this.#heartbeat);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(WILL_RESUME);
    if (!this.#resuming) {
      this.#resuming = { until: Date.now() + (this.welcome?.limits?.resume_ms ?? 15000), attempt: 0, timer: 0 };
      this.#emit("connection", { resuming: true });
    }
    const { until, attempt } = this.#resuming;
    if (Date.now() >= until) return this.#drop("unreachable");
    const pause = RESUME_PAUSES_MS[Math.min(attempt, RESUME_PAUSES_MS.length - 1)];
    this.#resuming.attempt += 1;
    clearTimeout(this.#resuming.timer);
    this.#resuming.timer = setTimeout(() => (this.#socket = this.#open(null)), pause);
  }

  /** Another network: the old connection is of no use, whatever it believes. */
  #networkChanged() {
    if (!this.#session || this.state === "connecting") return;
    if (this.#resuming) this.#resuming.attempt = 0;
    this.#resume();
  }

  /** The connection is over, whoever ended it: so is the call, and nothing of it stays. */
  #drop(why, error) {
    const socket = this.#socket;
    const hello = this.#hello;
    this.#socket = null;
    this.#hello = null;
    this.#ice = null;
    this.welcome = null;
    this.#session = null;
    this.#n = 0;
    this.#unsent.length = 0;
    clearTimeout(this.#resuming?.timer);
    this.#resuming = null;
    this.#last = null;
    this.cancelReport();
    this.#pending.clear();
    clearInterval(this.#heartbeat);
    socket?.close();
    if (this.#call) this.#endCall({ by: "server", why: "lost" }, "idle");
    this.#closeMicrophone();
    this.#setState("offline", { why });
    hello?.reject(error ?? new PairError("E_OFFLINE", why));
  }

  #send(message) {
    if (!this.#resuming) return this.#sendNow(message);
    if (message.t !== "typing" && this.#unsent.length < UNSENT_MAX) this.#unsent.push(message);
  }

  #sendNow(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #request(t, fields = {}) {
    const q = ++this.#requests;
    this.#pending.set(q, t);
    this.#send({ t, q, ...fields });
  }

  #requestQueue() {
    this.#setState("queued");
    this.#request("queue", this.#criteria);
  }

  #receive(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message.n > this.#n) this.#n = message.n;
    const asked = this.#pending.get(message.q);
    this.#pending.delete(message.q);
    const forCall = message.call !== undefined && message.call === this.#call?.id;
    switch (message.t) {
      case "welcome": return this.#welcomed(message);
      case "queued": return this.#queued(message);
      case "left": case "tuned": case "typing": case "pong": return this.#said(message);
      case "position": return this.#emit("position", place(message));
      case "matched": return this.#matched(message);
      case "error": return this.#refused(message, asked);
      case "offer": case "answer": return forCall && this.#call.describe(message);
      case "cand": return forCall && this.#call.candidate(message);
      case "connected": return forCall && this.#connected(message);
      case "text": return forCall && this.#remember({ from: "peer", k: message.k, text: message.b, tag: message.tag });
      case "quality": return forCall && this.#emit("relay", { up: message.up, down: message.down });
      case "restart": return forCall && this.#call.restart(message);
      case "peer": return forCall && this.#emit("peer", { state: message.s });
      case "blocked": return this.#emit("blocked", {});
      case "reported": return this.#reported();
      case "drain": return this.#emit("drain", { inMs: message.in_ms, to: message.to });
      case "ended": return forCall && this.#ended(message);
      default: // a newer server may say more than this client knows
    }
  }

  /** Answers that change nothing here; the app may want to know that somebody types. */
  #said({ t, call }) {
    if (t === "typing" && call === this.#call?.id) this.#emit("typing", {});
  }

  #reported() {
    this.cancelReport();
    this.#emit("reported", {});
  }

  /** The same session on another connection: what was missed follows, then what could not be said goes out. */
  #resumed({ resumed, hb_ms }) {
    clearTimeout(this.#resuming?.timer);
    this.#resuming = null;
    this.#pending.clear();
    this.#heartbeat = setInterval(() => this.#beat(), hb_ms);
    if (resumed.state === "idle" && this.state === "queued" && !this.#call) this.#requestQueue();
    if (resumed.state === "call" && resumed.call === this.#call?.id && resumed.gen !== this.#call.gen) this.restart();
    for (const message of this.#unsent.splice(0)) this.#sendNow(message);
    this.#emit("connection", { resuming: false });
  }

  #welcomed(message) {
    this.welcome = message;
    this.#session = { sid: message.sid, key: message.key };
    if (message.resumed) return this.#resumed(message);
    this.#ice = message.ice ?? null;
    if (message.hb_ms > 0) this.#heartbeat = setInterval(() => this.#beat(), message.hb_ms);
    this.#setState("idle");
    this.#hello?.resolve(message);
    this.#hello = null;
  }

  /** A ping each beat; two beats without any answer mean that nobody is there any more. */
  #beat() {
    if ([...this.#pending.values()].includes("ping")) return this.#resume();
    const q = ++this.#requests;
    this.#pending.set(q, "ping");
    this.#send({ t: "ping", q, p: q, n: this.#n });
  }

  #queued(message) {
    this.#ice = message.ice ?? this.#ice;
    if (this.state !== "queued") return; // left before the answer came
    this.#emit("queued", place(message));
  }

  #refused(message, asked) {
    if (this.#resuming && message.fatal) return this.#drop("lost", new PairError(message.code, message.msg));
    if (asked === "next") return this.#nextRefused(message);
    if (asked === "hangup" || asked === "leave") return; // it was over already: that is what was asked for
    if (asked === undefined && message.code === "E_CALL") return; // a frame of ours crossed the end of its call
    if (asked === "queue" && this.state === "queued") {
      this.#closeMicrophone();
      this.#setState("idle");
    }
    this.#hello?.reject(new PairError(message.code, message.msg, message.retry_ms));
    this.#hello = null;
    this.#emitError(message, asked);
  }

  /** The partner was quicker: that call is over, so wait as asked. Anything else is a real no, to the waiting but not to the leaving. */
  #nextRefused(message) {
    if (this.state !== "queued") return;
    if (message.code === "E_CALL" || message.code === "E_STATE") return this.#requestQueue();
    this.#request("hangup", { call: this.#left });
    this.#closeMicrophone();
    this.#setState("idle");
    this.#emitError(message, "next");
  }

  #emitError({ code, msg, retry_ms, fatal }, asked) {
    this.#emit("error", { code, message: msg ?? code, retryMs: retry_ms, fatal: fatal === true, asked });
  }

  // --- the call ---

  #matched(message) {
    this.#send({ t: "ack", call: message.call }); // before anything that takes time: it proves that somebody is awake
    if (this.state !== "queued") return this.#request("hangup", { call: message.call }); // crossed our `leave`
    this.#call = new Call(message, message.ice ?? this.#ice, this.#stream?.getAudioTracks()[0] ?? null, {
      send: (fields) => this.#send(fields),
      emit: (type, detail) => this.#emit(type, detail),
    });
    this.#setState("matched");
    this.#emit("matched", { call: message.call, role: message.role, peer: message.peer ?? {}, path: this.#call.path });
    this.#call.start(message.offer);
    this.#tellMicrophone();
  }

  #connected(message) {
    this.#setState("talking");
    this.#emit("connected", { call: message.call, setupMs: message.setup_ms });
  }

  #ended(message) {
    this.#endCall({ by: message.by, why: message.why, requeued: message.requeued === true }, message.requeued ? "queued" : "idle");
  }

  /** Media, then text, then the news: when `ended` is heard there is nothing left to stop or to read. */
  #endCall(detail, state) {
    const call = this.#call;
    this.#call = null;
    call.close();
    this.#last = { call: call.id, at: Date.now() };
    if (this.#draft?.call === call.id) this.#draft.evidence = this.#evidence();
    this.texts.length = 0;
    for (const [q, asked] of this.#pending) if (asked === "text") this.#pending.delete(q); // success has no answer
    if (state === "idle") this.#closeMicrophone();
    this.#setState(state);
    this.#emit("ended", { call: call.id, requeued: state === "queued", ...detail });
  }

  #remember(line) {
    this.texts.push(line);
    if (this.texts.length > TEXTS_MAX) this.texts.shift();
    this.#emit("text", line);
    return line;
  }

  // --- telling the app ---

  #expect(state) {
    if (this.state !== state) throw new PairError("E_STATE", `this needs state "${state}", not "${this.state}"`);
  }

  #setState(state, detail = {}) {
    if (state === this.state) return;
    const previous = this.state;
    this.state = state;
    this.#emit("state", { state, previous, ...detail });
  }

  #setMicrophone(microphone) {
    if (microphone === this.microphone) return;
    this.microphone = microphone;
    this.#emit("microphone", { microphone });
    this.#tellMicrophone();
  }

  /** The partner hears whether there is anything to hear. */
  #tellMicrophone() {
    const s = { on: "on", muted: "muted" }[this.microphone] ?? "ended";
    if (!this.#call || this.microphone === "asking" || s === (this.#call.told ?? "on")) return;
    this.#call.told = s;
    this.#send({ t: "mic", call: this.#call.id, s });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

// --- small helpers ---

/** Where a ticket stands. `eta` stays null when the server does not know: a guess is never invented. */
function place({ ahead, eta, stage, hint }) {
  return { ahead, eta: eta ?? null, stage: stage ?? 0, hint: hint ? { relax: hint.relax, wouldMatch: hint.would_match } : null };
}

function stopTracks(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

function closeReason(code) {
  return { 1006: "unreachable", 4401: "token", 4403: "refused", 4408: "slow", 4409: "replaced", 4429: "rate", 4503: "busy" }[code] ?? "closed";
}
