// One call's peer connection: descriptions and candidates in; media, quality and the path it takes out.
// Part of the client in pair.js, which owns the socket and decides when a call begins and ends.

const QUALITY_INTERVAL_MS = 1000;
/** Candidates that came before the description they belong to. */
const EARLY_CANDIDATES_MAX = 16;
/** A partner's relay address whose first check overtook its candidate is called "prflx"; our relay admits no other address. */
const RELAYED = new Set(["relay", "prflx"]);

export class Call {
  #pc;
  #out;
  #gen;
  #role;
  #relayOnly;
  #track;
  #sender = null;
  #early = [];
  #timer = 0;
  #before = { received: 0, lost: 0 };
  #confirm = 0;

  constructor({ call, role, gen = 1, peer = {} }, ice, track, out) {
    this.id = call;
    this.peer = peer;
    this.textsSent = 0;
    this.#gen = gen;
    this.#role = role;
    this.#track = track;
    this.#out = out;
    // Without a word from the server, hide: a call that fails can be repeated, an address that was shown cannot be taken back.
    this.#relayOnly = ice?.policy !== "all";
    /** "checking" until a candidate pair is chosen, then "hidden" or "shown". Direct calls show addresses from the start. */
    this.path = this.#relayOnly ? "checking" : "shown";
    /** What both people can read to each other once they are connected: the same on both sides, unless somebody sits between. */
    this.safetyCode = null;
    this.#pc = new RTCPeerConnection({
      iceServers: ice?.servers ?? [],
      iceTransportPolicy: this.#relayOnly ? "relay" : "all",
      bundlePolicy: "max-bundle",
      rtcpMuxPolicy: "require",
    });
    this.#pc.onicecandidate = ({ candidate }) => this.#gathered(candidate);
    this.#pc.ontrack = ({ track }) => out.emit("stream", { stream: new MediaStream([track]) });
    this.#pc.oniceconnectionstatechange = () => this.#iceChanged(this.#pc.iceConnectionState);
    this.#pc.onconnectionstatechange = () => this.#connectionChanged();
  }

  /** The waiter offers (its offer may already lie in the match), the arrival answers. */
  async start(offer) {
    if (offer) return this.describe({ t: "offer", gen: this.#gen, sdp: offer.sdp });
    if (this.#role !== "offerer") return;
    await this.#attempt(async () => {
      this.#sender = this.#pc.addTransceiver(this.#track ?? "audio", { direction: "sendrecv" }).sender;
      await this.#describeSelf("offer");
    });
  }

  get gen() {
    return this.#gen;
  }

  /** A new generation with fresh credentials. Who offered first offers again; the media of the old paths flows on meanwhile. */
  async restart({ gen, ice }) {
    if (!(gen > this.#gen)) return;
    this.#gen = gen;
    this.#early = [];
    await this.#attempt(async () => {
      if (ice) this.#pc.setConfiguration({ ...this.#pc.getConfiguration(), iceServers: ice.servers });
      this.#watchRestart();
      if (this.#role !== "offerer") return;
      this.#pc.restartIce();
      await this.#describeSelf("offer");
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
      const chosen = selected(await this.#pc.getStats());
      if (gen !== this.#gen || (chosen?.usernameFragment ?? now) !== now) return;
      clearInterval(this.#confirm);
      this.#sendIce("connected");
    }, 250);
  }

  async describe({ t, gen = this.#gen, sdp }) {
    if (gen !== this.#gen) return;
    await this.#attempt(async () => {
      await this.#pc.setRemoteDescription({ type: t, sdp });
      if (t === "offer") await this.#answer();
      for (const candidate of this.#early.splice(0)) await this.#pc.addIceCandidate(candidate);
    });
  }

  async #answer() {
    const [transceiver] = this.#pc.getTransceivers();
    transceiver.direction = "sendrecv";
    this.#sender = transceiver.sender;
    if (this.#track) await this.#sender.replaceTrack(this.#track);
    await this.#describeSelf("answer");
  }

  async #describeSelf(t) {
    await this.#pc.setLocalDescription();
    const sdp = withoutCandidates(this.#pc.localDescription.sdp);
    this.#out.send({ t, call: this.id, gen: this.#gen, sdp });
  }

  async candidate({ gen = this.#gen, c, mid = "0" }) {
    if (gen !== this.#gen) return;
    const candidate = { candidate: c ?? "", sdpMid: mid };
    if (this.#pc.remoteDescription) return this.#attempt(() => this.#pc.addIceCandidate(candidate));
    if (this.#early.length < EARLY_CANDIDATES_MAX) this.#early.push(candidate);
  }

  #gathered(candidate) {
    if (candidate?.candidate === "") return; // end of one generation; the null that follows says the same
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
    if (code === this.safetyCode) return;
    this.safetyCode = code;
    this.#out.emit("safety", { code });
  }

  #sendIce(s) {
    this.#out.send({ t: "ice", call: this.id, s });
  }

  async useTrack(track) {
    this.#track = track;
    await this.#sender?.replaceTrack(track);
  }

  /** Browsers reject what is under way when a connection closes; that is no error, a description they cannot use is. */
  async #attempt(act) {
    try {
      await act();
    } catch (error) {
      if (this.#pc.signalingState !== "closed") this.#out.emit("error", { code: "E_MEDIA", message: error.message, fatal: false });
    }
  }

  async #measure() {
    const stats = await this.#pc.getStats();
    if (this.#pc.signalingState === "closed") return;
    const { quality, totals } = summarise(stats, this.#before);
    this.#before = totals;
    if (this.#relayOnly && quality.local) this.path = quality.local === "relay" && RELAYED.has(quality.remote) ? "hidden" : "shown";
    this.#out.emit("quality", { ...quality, path: this.path });
  }

  close() {
    clearInterval(this.#timer);
    clearInterval(this.#confirm);
    this.#pc.onicecandidate = this.#pc.ontrack = this.#pc.oniceconnectionstatechange = this.#pc.onconnectionstatechange = null;
    this.#pc.close();
  }
}

// --- small helpers ---

function fragment(sdp) {
  return sdp?.match(/^a=ice-ufrag:(\S+)/m)?.[1];
}

/** The local candidate of the chosen pair. */
function selected(stats) {
  const all = [...stats.values()];
  const pair = stats.get(all.find((s) => s.type === "transport")?.selectedCandidatePairId)
    ?? all.find((s) => s.type === "candidate-pair" && s.nominated && s.state === "succeeded");
  return stats.get(pair?.localCandidateId);
}

/**
 * 128 bits of SHA-256 over both sides' DTLS fingerprints, in sorted order so that both compute the same, as 13 groups of
 * three digits. Whoever sits between two calls has two fingerprints of its own, and the codes differ.
 */
export async function safetyCode(...descriptions) {
  const prints = descriptions.map((sdp) => sdp?.match(/^a=fingerprint:(\S+ \S+)/m)?.[1].toLowerCase());
  if (prints.includes(undefined)) return null;
  const bytes = new TextEncoder().encode(prints.sort().join("\n"));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).slice(0, 16);
  const number = digest.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  return String(number).padStart(39, "0").match(/.{3}/g).join(" ");
}

/** Round trip and jitter in milliseconds, loss as a share of the last interval's packets, and the chosen candidate pair's types. */
function summarise(stats, before) {
  const all = [...stats.values()];
  const chosen = stats.get(all.find((s) => s.type === "transport")?.selectedCandidatePairId)
    ?? all.find((s) => s.type === "candidate-pair" && s.nominated && s.state === "succeeded");
  const inbound = all.find((s) => s.type === "inbound-rtp" && s.kind === "audio");
  const report = all.find((s) => s.type === "remote-inbound-rtp" && s.kind === "audio");
  const totals = { received: inbound?.packetsReceived ?? 0, lost: inbound?.packetsLost ?? 0 };
  const lost = Math.max(0, totals.lost - before.lost);
  const expected = totals.received - before.received + lost;
  const quality = {
    rttMs: milliseconds(report?.roundTripTime ?? chosen?.currentRoundTripTime),
    jitterMs: milliseconds(inbound?.jitter),
    loss: expected > 0 ? lost / expected : null,
    local: stats.get(chosen?.localCandidateId)?.candidateType ?? null,
    remote: stats.get(chosen?.remoteCandidateId)?.candidateType ?? null,
  };
  return { quality: { ...quality, grade: grade(quality) }, totals };
}

/** "good" | "fair" | "poor": where conversation starts to suffer (ITU-T G.114 for delay, a few per cent for Opus with FEC). */
function grade({ rttMs, jitterMs, loss }) {
  if (rttMs > 400 || jitterMs > 60 || loss > 0.08) return "poor";
  if (rttMs > 250 || jitterMs > 30 || loss > 0.02) return "fair";
  return "good";
}

function milliseconds(seconds) {
  return typeof seconds === "number" ? Math.round(seconds * 1000) : null;
}

/** Candidates travel as `cand`, one by one, where the server can check them. */
function withoutCandidates(sdp) {
  return sdp.replace(/^a=(candidate|end-of-candidates).*\r\n/gm, "");
}
