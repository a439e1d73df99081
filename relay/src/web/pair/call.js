// One call on a line: descriptions and candidates in; media, quality and the path it takes out.

import { safetyCode } from "./safety.js";
import { chosenCandidate, isHidden, summarise } from "./stats.js";
import { withoutCandidates } from "./line.js";

const QUALITY_INTERVAL_MS = 1000;
/** How the partner's stream arrives is said this often, if the server wants to know. */
const REPORT_INTERVAL_MS = 5000;
const CONFIRM_INTERVAL_MS = 250;
/** Candidates that came before the description they belong to. */
const EARLY_CANDIDATES_MAX = 16;

export class Call {
  #line;
  #pc;
  #out; // { send, emit }
  #gen;
  #role;
  #relayOnly;
  #turn = Promise.resolve(); // descriptions are set one after another
  #early = [];
  #timer = 0;
  #before = { received: 0, lost: 0 };
  #confirm = 0;
  #reported = null; // what had arrived at the last report, and when that was

  constructor({ call, role, gen = 1, peer = {}, ice }, line, out) {
    this.id = call;
    this.peer = peer;
    this.#gen = gen;
    this.#role = role;
    this.#line = line;
    this.#pc = line.pc;
    this.#out = out;
    if (ice) line.restrict(ice);
    this.#relayOnly = line.relayOnly;
    /** "checking" until a candidate pair is chosen, then "hidden" or "shown". Direct calls show addresses from the start. */
    this.path = this.#relayOnly ? "checking" : "shown";
    /** What both people can read to each other once they are connected: the same on both sides, unless somebody sits between. */
    this.safetyCode = null;
    line.onCandidate((candidate) => this.#gathered(candidate));
    this.#pc.ontrack = ({ track }) => out.emit("stream", { stream: new MediaStream([track]) });
    this.#pc.oniceconnectionstatechange = () => this.#iceChanged(this.#pc.iceConnectionState);
    this.#pc.onconnectionstatechange = () => this.#connectionChanged();
  }

  get gen() {
    return this.#gen;
  }

  /** The waiter offers (its offer may already have come to the other with the match), the arrival answers. */
  start(offer) {
    if (offer) return this.describe({ t: "offer", gen: this.#gen, sdp: offer.sdp });
    if (this.#role !== "offerer") return;
    return this.#attempt(async () => {
      if (!this.#line.inTicket) this.#describeSelf("offer", await this.#line.offer());
      this.#line.releaseCandidates();
      await this.#line.becomeOfferer();
    });
  }

  describe({ t, gen = this.#gen, sdp }) {
    if (gen !== this.#gen) return;
    return this.#attempt(async () => {
      if (t === "offer") await this.#answer(sdp);
      else await this.#pc.setRemoteDescription({ type: t, sdp });
      for (const candidate of this.#early.splice(0)) await this.#pc.addIceCandidate(candidate);
    });
  }

  /** The first answer is sent as soon as it is written; setting it is this side's own business. */
  async #answer(sdp) {
    if (this.#pc.currentRemoteDescription) {
      await this.#pc.setRemoteDescription({ type: "offer", sdp });
      await this.#pc.setLocalDescription();
      return this.#describeSelf("answer", withoutCandidates(this.#pc.localDescription.sdp));
    }
    const answer = await this.#line.becomeAnswerer(sdp);
    this.#describeSelf("answer", answer.sdp);
    await answer.settle();
  }

  #describeSelf(t, sdp) {
    this.#out.send({ t, call: this.id, gen: this.#gen, sdp });
  }

  /** A new generation with fresh credentials. Who offered first offers again; the media of the old paths flows on meanwhile. */
  restart({ gen, ice }) {
    if (!(gen > this.#gen)) return;
    this.#gen = gen;
    this.#early = [];
    return this.#attempt(async () => {
      this.#watchRestart();
      if (ice) this.#pc.setConfiguration({ ...this.#pc.getConfiguration(), iceServers: ice.servers });
      if (this.#role !== "offerer") return;
      this.#pc.restartIce();
      await this.#pc.setLocalDescription();
      this.#describeSelf("offer", withoutCandidates(this.#pc.localDescription.sdp));
    });
  }

  /** Browsers may stay "connected" through a restart, so the new paths are looked for: the chosen pair carries the new name. */
  #watchRestart() {
    clearInterval(this.#confirm);
    const gen = this.#gen;
    const old = fragment(this.#pc.localDescription?.sdp);
    this.#confirm = setInterval(async () => {
      const now = fragment(this.#pc.localDescription?.sdp);
      if (gen !== this.#gen || this.#pc.connectionState !== "connected" || this.#pc.signalingState !== "stable" || now === old) return;
      const chosen = chosenCandidate(await this.#pc.getStats());
      if (gen !== this.#gen || (chosen?.usernameFragment ?? now) !== now) return;
      clearInterval(this.#confirm);
      this.#sendIce("connected");
    }, CONFIRM_INTERVAL_MS);
  }

  candidate({ gen = this.#gen, c, mid = "0" }) {
    if (gen !== this.#gen) return;
    const candidate = { candidate: c ?? "", sdpMid: mid };
    if (this.#pc.remoteDescription) return this.#attempt(() => this.#pc.addIceCandidate(candidate));
    if (this.#early.length < EARLY_CANDIDATES_MAX) this.#early.push(candidate);
  }

  #gathered(candidate) {
    if (candidate && this.#relayOnly && candidate.type !== "relay") return; // the server would drop it; it never leaves here
    this.#out.send({ t: "cand", call: this.id, gen: this.#gen, c: candidate?.candidate ?? null, mid: candidate?.sdpMid ?? "0" });
  }

  /** `connected` is said only when DTLS is up too (see below): "connected" means that a voice can be heard. */
  #iceChanged(state) {
    if (state === "checking" || state === "disconnected" || state === "failed") this.#sendIce(state);
  }

  #connectionChanged() {
    if (this.#pc.connectionState !== "connected") return;
    this.#sendIce("connected");
    this.#compareFingerprints();
    this.#measure();
    this.#timer ||= setInterval(() => this.#measure(), QUALITY_INTERVAL_MS);
  }

  async #compareFingerprints() {
    const code = await safetyCode(this.#pc.localDescription?.sdp, this.#pc.remoteDescription?.sdp);
    if (code === this.safetyCode || this.#pc.signalingState === "closed") return;
    this.safetyCode = code;
    this.#out.emit("safety", { code });
  }

  #sendIce(s) {
    this.#out.send({ t: "ice", call: this.id, s });
  }

  useTrack(track) {
    return this.#line.useTrack(track);
  }

  /** Browsers reject what is under way when a connection closes; that is no error, a description they cannot use is. */
  #attempt(act) {
    this.#turn = this.#turn.then(act).catch((error) => {
      if (this.#pc.signalingState !== "closed") this.#out.emit("error", { code: "E_MEDIA", message: error.message, fatal: false });
    });
    return this.#turn;
  }

  async #measure() {
    const stats = await this.#pc.getStats();
    if (this.#pc.signalingState === "closed") return;
    const { quality, totals } = summarise(stats, this.#before);
    this.#before = totals;
    if (this.#relayOnly && quality.local) this.path = isHidden(quality) ? "hidden" : "shown";
    this.#out.emit("quality", { ...quality, path: this.path });
    this.#report(stats);
  }

  /** From now on the server is told, too. */
  reports() {
    this.#reported ??= { at: Date.now(), totals: this.#before };
  }

  #report(stats) {
    const before = this.#reported;
    if (!before || Date.now() - before.at < REPORT_INTERVAL_MS) return;
    const { quality: { loss, jitterMs }, totals } = summarise(stats, before.totals);
    this.#reported = { at: Date.now(), totals };
    if (loss === null || jitterMs === null) return; // nothing came: that is not for guessing
    this.#out.send({ t: "heard", call: this.id, lost: Math.round(loss * 1000) / 10, jitter_ms: Math.min(jitterMs, 10_000) });
  }

  close() {
    clearInterval(this.#timer);
    clearInterval(this.#confirm);
    this.#pc.ontrack = this.#pc.oniceconnectionstatechange = this.#pc.onconnectionstatechange = null;
    this.#line.close();
  }
}

function fragment(sdp) {
  return sdp?.match(/^a=ice-ufrag:(\S+)/m)?.[1];
}
