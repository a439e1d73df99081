// A client for `pair.v1`: be matched with a stranger, talk, type, hang up. No dependency, no build step.
//
//   import { Pair } from "./pair.js";
//   const pair = new Pair({ url: "wss://voice.example/v1/ws", token: async () => (await fetch("/my/token")).text() });
//   pair.addEventListener("stream", (event) => { audio.srcObject = event.detail.stream; });
//   await pair.connect();
//   await pair.queue({ topics: [3, 17] });
//
// Everything that happens is an event; `pair.d.ts` lists them with their fields. The server decides who talks to whom and
// when a call is over; this client only obeys at once. What it never does: keep text after a call, send a candidate that is
// not a relay's while the server's policy is "relay", or treat a refused microphone as a failure. Its parts are in `pair/`.

import { PairError } from "./pair/errors.js";
import { safetyCode } from "./pair/safety.js";
import { Session } from "./pair/session.js";

export { PairError, safetyCode };

const NOTE_MAX_CHARS = 500;

export class Pair extends EventTarget {
  #token;
  #session;

  constructor({ url, token, microphone } = {}) {
    super();
    if (typeof token !== "function") throw new TypeError("Pair needs `token`: an async function that returns one");
    this.#token = token;
    const address = url ?? new URL("/v1/ws", globalThis.location.href.replace(/^http/, "ws")).href;
    this.#session = new Session(address, microphone, (type, detail) => this.dispatchEvent(new CustomEvent(type, { detail })));
  }

  /** "offline" | "connecting" | "idle" | "queued" | "matched" | "talking" */
  get state() {
    return this.#session.state;
  }

  /** "off" | "asking" | "on" | "muted" | "refused" | "missing" | "lost" */
  get microphone() {
    return this.#session.microphone.state;
  }

  /** The server's `welcome`, while there is a connection. */
  get welcome() {
    return this.#session.welcome;
  }

  /** The connection broke and is being resumed; a call goes on meanwhile. */
  get resuming() {
    return this.#session.connection.resuming;
  }

  /** Id, partner, path and safety code of the call under way, or null. */
  get call() {
    const call = this.#session.call;
    return call && { id: call.id, peer: call.peer, path: call.path, safetyCode: call.safetyCode };
  }

  /** What both sides typed in this call, oldest first; emptied the moment it ends. */
  get texts() {
    return this.#session.transcript.texts;
  }

  /** The microphone's stream while it is open, for a level meter. */
  get localStream() {
    return this.#session.microphone.stream;
  }

  /** Fetches a token and says hello. Then a relay is allocated and an offer written, before anybody is found. */
  async connect() {
    if (this.state !== "offline") throw new PairError("E_STATE", "already connected");
    this.#session.setState("connecting");
    try {
      const token = await this.#token();
      this.#session.expect("connecting");
      return await this.#session.connection.open(token);
    } catch (error) {
      if (this.state === "connecting") this.#session.connection.drop(error.code ?? "E_OFFLINE", error);
      throw error;
    }
  }

  disconnect() {
    this.#session.connection.drop("left");
  }

  /**
   * Opens the microphone if it can be had, then waits for a partner. Resolves when the ticket is on its way; a
   * microphone that was refused shows in `microphone` and the wait goes on: one can still listen and type.
   */
  async queue(criteria = {}) {
    this.#session.expect("idle");
    await this.openMicrophone();
    this.#session.expect("idle");
    this.#session.criteria = criteria;
    await this.#session.requestQueue();
  }

  /** Other wishes, the same place in the queue. */
  tune(criteria = {}) {
    this.#session.expect("queued");
    this.#session.criteria = criteria;
    this.#session.connection.request("tune", criteria);
  }

  leave() {
    this.#session.expect("queued");
    this.#session.connection.request("leave");
    this.#session.rest();
  }

  /** Ends this call and waits for the next partner, in one step on the server, with the same criteria. */
  next() {
    this.#session.left = this.#session.expectCall();
    this.#session.call.close();
    this.#session.connection.request("next", { call: this.#session.left });
    this.#session.endCall({ by: "self", why: "next" }, "queued");
  }

  /** Silence first, then the message, then the news: nobody waits for an app's listeners. */
  hangup(why = "hangup") {
    if (!this.#session.call) return;
    this.#session.call.close();
    this.#session.connection.request("hangup", { call: this.#session.call.id, why });
    this.#session.endCall({ by: "self", why }, "idle");
  }

  /** Where the server asks people (`welcome.policy.acceptance`): no voice passes until both have accepted. */
  accept() {
    this.#session.connection.request("accept", { call: this.#session.expectCall() });
  }

  decline() {
    this.#session.connection.request("decline", { call: this.#session.expectCall() });
  }

  /** New paths for the call; the server asks for them by itself when a side hears nothing. */
  restart() {
    this.#session.connection.request("restart", { call: this.#session.expectCall() });
  }

  /** Ends this call if it goes on, and never again meets this partner, or the last one. They hear that you hung up. */
  block() {
    const call = this.#session.reachable("block");
    this.#session.call?.close();
    this.#session.connection.request("block", { call });
  }

  /** A report is being written: what the partner said stays until it is delivered or cancelled, though the call may end. */
  beginReport() {
    if (!this.#session.transcript.reporting) this.#session.transcript.beginReport(this.#session.reachable("report"));
  }

  cancelReport() {
    this.#session.transcript.cancelReport();
  }

  /** Sends what `beginReport` began; the `reported` event says that it has arrived, `E_REPORT_RETRY` that it has not. */
  report({ category, note, end = false } = {}) {
    this.beginReport();
    const { call, ev } = this.#session.transcript.beginReport();
    const words = note ? { note: String(note).slice(0, NOTE_MAX_CHARS) } : {};
    this.#session.connection.request("report", { call, cat: category, ...words, ev, end });
  }

  /** That somebody is typing; say it as often as you like. */
  typing() {
    if (this.#session.call) this.#session.connection.mention({ t: "typing", call: this.#session.call.id });
  }

  /**
   * Returns what was sent, as the partner will get it, or null for nothing. Kept in memory for this call only. A connection that
   * breaks loses none of it: what the server has not heard is said again. Throws `E_RATE` while too much of it waits for that.
   */
  sendText(text) {
    const call = this.#session.expectCall();
    this.#session.expectRoomForText();
    const line = this.#session.transcript.compose(text);
    if (!line) return null;
    this.#session.connection.request("text", { call, k: line.k, b: line.text });
    return this.#session.remember(line);
  }

  /** `trace` events from now on: what the server sees of one's own calls. Told to nobody else, written down nowhere. */
  traceOwnCall(on = true) {
    this.#session.connection.request("trace", { on });
  }

  mute(muted = true) {
    this.#session.microphone.mute(muted);
  }

  /** Asks for the microphone; may be called again after a refusal, also in mid-call. Never throws. */
  openMicrophone() {
    return this.#session.microphone.open();
  }

  /** This one from now on, also in mid-call; null for the system's choice. The ids are those of `enumerateDevices`. */
  chooseMicrophone(deviceId = null) {
    return this.#session.microphone.choose(deviceId);
  }
}
