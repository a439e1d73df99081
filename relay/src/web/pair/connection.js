// The socket to the server: hello, heartbeat, requests with their numbers, and resuming when it breaks.
// It knows nothing of queues and calls; `out` is told what arrives and when it is over.

import { PairError } from "./errors.js";

const SUBPROTOCOL = "pair.v1";
const SDK = "pair.js/2";
/** What the server is not known to have is kept, up to this many frames: a connection that breaks loses nothing that was said. */
const UNHEARD_MAX = 64;
/** So long after something was said the server is asked whether it has heard, unless an answer has told … */
const CONFIRM_MS = 1000;
/** … and who is not answered by then has nobody there any more. */
const ANSWER_MS = 5000;
/** Everybody who was asked to come back at once comes back within so long: ten thousand at one moment find no room to be accepted. */
const RESTART_SPREAD_MS = 3000;
/** Who was refused or not answered tries again after so long, and up to twice that … */
const PAUSE_MS = 500;
/**
 * … and an attempt with no connection by then is given up for the next. The first is soon: a system that is not answered asks again after
 * one, three and seven seconds, and a network that swallows packets says nothing. The last has time for a slow network,
 * and Chromium itself holds an attempt back for up to five seconds after others have failed.
 */
const ATTEMPTS_MS = [2000, 2000, 4000, 7000];
/** Who is connected has so long to be answered. */
const WELCOME_MS = 5000;
/** A server that does not say for how long it resumes keeps to this. */
const RESUME_MS = 15000;
/** These may name a call that is over … */
const OF_THE_LAST_CALL = new Set(["hangup", "next", "block", "report"]);
/** … and a no to these, once it is over, is no news. */
const OF_A_CALL = new Set(["text", "mic"]);
/** Closing with this says that the session will be resumed. */
const WILL_RESUME = 4000;
/** The browser's word for a connection that broke. */
const BROKE = 1006;
/** Another process has taken the server's place: what was here is there. */
const RESTART = 1012;
/** Full; who comes back waits for room. */
const BUSY = 4503;

export class Connection {
  #url;
  #out; // { welcomed, resumed, message, away, over }
  #socket = null;
  #heartbeat = 0;
  #requests = 0;
  #pending = new Map(); // request number → what it asked for
  #hello = null; // { resolve, reject, token, until, attempt, timer } while the first hello is under way
  #session = null; // { sid, key }: what a broken connection is resumed with
  #pass = null; // with which another node takes us in, should this one die
  #resumeMs = RESUME_MS;
  #n = 0; // the last numbered frame that arrived
  #unheard = []; // what was said, in order, until the server has it
  #confirming = 0; // the timer of a `ping` to come
  #pinged = 0; // the timer of one that waits for its answer
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
      this.#hello = { resolve, reject, token, until: 0, attempt: 0, timer: 0 };
      this.#socket = this.#dial({ token });
    });
  }

  /** Says something once: now, or when the connection is back, and again if it is not known to have arrived. False: no room. */
  send(message) {
    return this.#say({ ...message, q: ++this.#requests });
  }

  /** The same with an answer to come, or with silence if all is well. */
  request(t, fields = {}) {
    const q = ++this.#requests;
    const said = this.#say({ t, q, ...fields });
    if (said) this.#pending.set(q, { t, k: fields.k });
    return said;
  }

  /** Says what may be lost. */
  mention(message) {
    if (!this.#resuming) this.#sendNow(message);
  }

  /** How many of this kind the server is not known to have. */
  unheard(t) {
    return this.#unheard.filter((said) => said.t === t).length;
  }

  /** A call is over: nothing of it is said any more, but for what may be said of the last one. */
  forget(call) {
    this.#unheard = this.#unheard.filter((said) => said.call !== call || OF_THE_LAST_CALL.has(said.t));
    for (const [q, asked] of this.#pending) if (OF_A_CALL.has(asked.t)) this.#pending.delete(q);
  }

  /** The server said no to `hello`. */
  refuseHello(error) {
    clearTimeout(this.#hello?.timer);
    this.#hello?.reject(error);
    this.#hello = null;
  }

  /** Over, whoever ended it: nothing of it stays, and `out.over` is told before the promise of `open` is. */
  drop(why, error) {
    const [socket, hello] = [this.#socket, this.#hello];
    this.#socket = this.#hello = this.#session = null;
    this.#n = 0;
    this.#pass = null;
    this.#unheard.length = 0;
    this.#pending.clear();
    clearTimeout(hello?.timer);
    clearTimeout(this.#resuming?.timer);
    this.#resuming = null;
    this.#rest();
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

  #say(message) {
    const room = OF_THE_LAST_CALL.has(message.t) ? 2 * UNHEARD_MAX : UNHEARD_MAX; // an end is never what finds no room
    if (this.#unheard.length >= room) return false;
    this.#unheard.push(message);
    if (this.#resuming) return true;
    this.#sendNow(message);
    this.#confirmSoon();
    return true;
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
    if (message.t === "pass") return (this.#pass = message.pass);
    this.#heard(message.q);
    if (message.t !== "pong") return this.#out.message(message, asked);
    this.#answered(message.q);
  }

  /** A ping was: what was asked before it was granted in silence, but for a report, of which the app's backend will be heard. */
  #answered(ping) {
    clearTimeout(this.#pinged);
    this.#pinged = 0;
    for (const [q, { t }] of this.#pending) if (q < ping && t !== "report") this.#pending.delete(q);
    if (this.#unheard.length > 0) this.#confirmSoon();
  }

  /** The server answers in order: it has everything up to what it answers. */
  #heard(q) {
    if (q !== undefined) this.#unheard = this.#unheard.filter((said) => said.q > q);
  }

  #confirmSoon() {
    if (this.#confirming === 0 && this.#pinged === 0) this.#confirming = setTimeout(() => this.#confirm(), CONFIRM_MS);
  }

  #confirm() {
    this.#confirming = 0;
    if (this.#unheard.length > 0) this.#ping();
  }

  #welcomed(message) {
    const elsewhere = message.resumed !== undefined && message.sid !== this.#session?.sid;
    if (elsewhere) this.#n = 0; // numbers are a session's
    this.#session = { sid: message.sid, key: message.key };
    this.#resumeMs = message.limits?.resume_ms ?? RESUME_MS;
    this.#rest();
    if (message.hb_ms > 0) this.#heartbeat = setInterval(() => this.#ping(), message.hb_ms);
    if (message.resumed) return this.#resumed(message, elsewhere);
    this.#out.welcomed(message);
    clearTimeout(this.#hello?.timer);
    this.#hello?.resolve(message);
    this.#hello = null;
  }

  /** The same session on another connection: what was missed follows, and what the server has not heard is said again. */
  #resumed(message, elsewhere) {
    clearTimeout(this.#resuming?.timer);
    this.#resuming = null;
    this.#heard(message.resumed.q);
    this.#out.resumed(message, elsewhere);
    for (const said of this.#unheard) this.#sendNow(said);
    if (this.#unheard.length > 0) this.#confirmSoon();
    this.#out.away(false);
  }

  /** Asks for a sign of life, which also says what has been heard. */
  #ping() {
    if (this.#pinged !== 0 || this.#resuming) return;
    const q = ++this.#requests;
    this.#pinged = setTimeout(() => this.#resume(), ANSWER_MS);
    this.#sendNow({ t: "ping", q, p: q, n: this.#n });
  }

  #rest() {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#confirming);
    clearTimeout(this.#pinged);
    this.#confirming = this.#pinged = 0;
  }

  /** A connection that broke is resumed for as long as the server waits; one that was closed with a reason is over. */
  #closed(code) {
    const broke = code === BROKE || code === WILL_RESUME || code === RESTART || (code === BUSY && this.#resuming);
    if (broke && this.#session) return this.#resume(code);
    if (code === RESTART || this.#hello?.until > 0) return this.#helloAgain(code);
    this.drop(closeReason(code));
  }

  /** The server made room for another before it heard `hello`: that one is told, with the same token. */
  #helloAgain(code) {
    const hello = this.#hello;
    hello.until ||= Date.now() + RESUME_MS;
    if ((code !== RESTART && code !== BROKE) || Date.now() >= hello.until) return this.drop(closeReason(code));
    this.#leave();
    this.#later(hello, code, { token: hello.token }, () => this.#helloAgain(BROKE));
  }

  /** `code`: what the connection was closed with, if it was. */
  #resume(code = BROKE) {
    this.#rest();
    this.#leave();
    if (!this.#resuming) {
      this.#resuming = { until: Date.now() + this.#resumeMs, attempt: 0, timer: 0 };
      this.#out.away(true);
    }
    if (Date.now() >= this.#resuming.until) return this.drop("unreachable");
    this.#later(this.#resuming, code, { resume: { ...this.#session, n: this.#n }, ...(this.#pass === null ? {} : { pass: this.#pass }) }, () => this.#resume());
  }

  #leave() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(WILL_RESUME);
  }

  /** The next attempt of who is `away`; `again` if nothing is heard of it. */
  #later(away, code, credentials, again) {
    const expect = (act, ms) => {
      clearTimeout(away.timer);
      away.timer = setTimeout(act, ms);
    };
    const patience = ATTEMPTS_MS[Math.min(away.attempt, ATTEMPTS_MS.length - 1)];
    const attempt = () => {
      const socket = (this.#socket = this.#dial(credentials));
      expect(again, patience);
      socket.addEventListener("open", () => socket === this.#socket && expect(again, WELCOME_MS));
    };
    expect(attempt, pauseBefore(away.attempt, code));
    away.attempt += 1;
  }

  /** Another network: the old connection is of no use, whatever it believes. */
  #networkChanged() {
    if (!this.#session) return;
    if (this.#resuming) this.#resuming.attempt = 0;
    this.#resume();
  }
}

/** Who is not alone in coming back does not come at the same moment as everybody else. */
function pauseBefore(attempt, code) {
  if (code === RESTART) return Math.random() * RESTART_SPREAD_MS;
  return attempt === 0 ? 0 : PAUSE_MS * (1 + Math.random());
}

function closeReason(code) {
  const reasons = { 1006: "unreachable", 4401: "token", 4403: "refused", 4408: "slow", 4409: "replaced", 4429: "rate", 4503: "busy" };
  return reasons[code] ?? "closed";
}
