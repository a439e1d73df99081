// The socket to the server: hello, heartbeat, requests with their numbers, and resuming when it breaks.
// It knows nothing of queues and calls; `out` is told what arrives and when it is over.

import { PairError } from "./errors.js";

const SUBPROTOCOL = "pair.v1";
const SDK = "pair.js/2";
/** What is said while the connection is away waits for it, up to this many frames. */
const UNSENT_MAX = 64;
/** How long to wait before the second, third … attempt to resume. */
const RESUME_PAUSES_MS = [0, 500, 1500, 3000];
/**
 * An attempt that has not been answered by then is given up for the next: a network that swallows packets says nothing. Not sooner,
 * because Chromium itself holds an attempt back for up to five seconds after others have failed.
 */
const ATTEMPT_MS = 7000;
/** A server that does not say for how long it resumes keeps to this. */
const RESUME_MS = 15000;
/** Closing with this says that the session will be resumed. */
const WILL_RESUME = 4000;
/** The browser's word for a connection that broke. */
const BROKE = 1006;

export class Connection {
  #url;
  #out; // { welcomed, resumed, message, away, over }
  #socket = null;
  #heartbeat = 0;
  #requests = 0;
  #pending = new Map(); // request number → what it asked for
  #hello = null; // { resolve, reject } while the first hello is under way
  #session = null; // { sid, key }: what a broken connection is resumed with
  #resumeMs = RESUME_MS;
  #n = 0; // the last numbered frame that arrived
  #unsent = [];
  #resuming = null; // { until, attempt, timer } while the connection is away

  constructor(url, out) {
    this.#url = url;
    this.#out = out;
    globalThis.addEventListener?.("online", () => this.#networkChanged());
  }

  get resuming() {
    return this.#resuming !== null;
  }

  /** Resolves with `welcome`. The token travels in the first frame: never in the address, which proxies log. */
  open(token) {
    return new Promise((resolve, reject) => {
      this.#hello = { resolve, reject };
      this.#socket = this.#dial({ token });
    });
  }

  /** Sends, or keeps until there is somebody to send it to. */
  send(message) {
    if (!this.#resuming) return this.#sendNow(message);
    if (message.t !== "typing" && this.#unsent.length < UNSENT_MAX) this.#unsent.push(message);
  }

  request(t, fields = {}) {
    const q = ++this.#requests;
    this.#pending.set(q, t);
    this.send({ t, q, ...fields });
  }

  /** Requests of this kind are answered by silence if all is well, so that nothing is pending any more. */
  settle(kind) {
    for (const [q, asked] of this.#pending) if (asked === kind) this.#pending.delete(q);
  }

  /** The server said no to `hello`. */
  refuseHello(error) {
    this.#hello?.reject(error);
    this.#hello = null;
  }

  /** Over, whoever ended it: nothing of it stays, and `out.over` is told before the promise of `open` is. */
  drop(why, error) {
    const [socket, hello] = [this.#socket, this.#hello];
    this.#socket = this.#hello = this.#session = null;
    this.#n = 0;
    this.#unsent.length = 0;
    this.#pending.clear();
    clearTimeout(this.#resuming?.timer);
    this.#resuming = null;
    clearInterval(this.#heartbeat);
    socket?.close();
    this.#out.over(why);
    hello?.reject(error ?? new PairError("E_OFFLINE", why));
  }

  #dial(credentials) {
    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    const current = (act) => (event) => socket === this.#socket && act(event);
    socket.onopen = current(() => this.#sendNow({ t: "hello", q: ++this.#requests, v: [1], sdk: SDK, ...credentials }));
    socket.onmessage = current((event) => this.#receive(event.data));
    socket.onclose = current((event) => this.#closed(event.code));
    return socket;
  }

  #sendNow(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
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
    if (message.t === "welcome") return this.#welcomed(message);
    if (message.t !== "pong") this.#out.message(message, asked);
  }

  #welcomed(message) {
    this.#session = { sid: message.sid, key: message.key };
    this.#resumeMs = message.limits?.resume_ms ?? RESUME_MS;
    clearInterval(this.#heartbeat);
    if (message.hb_ms > 0) this.#heartbeat = setInterval(() => this.#beat(), message.hb_ms);
    if (message.resumed) return this.#resumed(message);
    this.#out.welcomed(message);
    this.#hello?.resolve(message);
    this.#hello = null;
  }

  /** The same session on another connection: what was missed follows, then what could not be said goes out. */
  #resumed(message) {
    clearTimeout(this.#resuming?.timer);
    this.#resuming = null;
    this.#pending.clear();
    this.#out.resumed(message);
    for (const unsent of this.#unsent.splice(0)) this.#sendNow(unsent);
    this.#out.away(false);
  }

  /** A ping each beat; two beats without any answer mean that nobody is there any more. */
  #beat() {
    if ([...this.#pending.values()].includes("ping")) return this.#resume();
    const q = ++this.#requests;
    this.#pending.set(q, "ping");
    this.send({ t: "ping", q, p: q, n: this.#n });
  }

  /** A connection that broke is resumed for as long as the server waits; one that was closed with a reason is over. */
  #closed(code) {
    const broke = code === BROKE || code === WILL_RESUME;
    if (!broke || !this.#session) return this.drop(closeReason(code));
    this.#resume();
  }

  #resume() {
    clearInterval(this.#heartbeat);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(WILL_RESUME);
    if (!this.#resuming) {
      this.#resuming = { until: Date.now() + this.#resumeMs, attempt: 0, timer: 0 };
      this.#out.away(true);
    }
    const { until, attempt } = this.#resuming;
    if (Date.now() >= until) return this.drop("unreachable");
    this.#resuming.attempt += 1;
    clearTimeout(this.#resuming.timer);
    const pause = RESUME_PAUSES_MS[Math.min(attempt, RESUME_PAUSES_MS.length - 1)];
    this.#resuming.timer = setTimeout(() => this.#attempt(), pause);
  }

  #attempt() {
    this.#socket = this.#dial({ resume: { ...this.#session, n: this.#n } });
    this.#resuming.timer = setTimeout(() => this.#resume(), ATTEMPT_MS);
  }

  /** Another network: the old connection is of no use, whatever it believes. */
  #networkChanged() {
    if (!this.#session) return;
    if (this.#resuming) this.#resuming.attempt = 0;
    this.#resume();
  }
}

function closeReason(code) {
  const reasons = { 1006: "unreachable", 4401: "token", 4403: "refused", 4408: "slow", 4409: "replaced", 4429: "rate", 4503: "busy" };
  return reasons[code] ?? "closed";
}
