// A peer connection made ready before there is anybody at the other end: relay allocated, offer written.
//
// Whether a line will offer or answer is known only when it is matched. Browsers that gather in advance (`iceCandidatePoolSize`:
// Chromium, Safari) keep their relay for either: the offer is made but not yet set. Firefox gathers once the offer is set; if it
// then has to answer, it takes the offer back and allocates anew, two round trips later.

export class Line {
  #ice = null;
  #pooled;
  #deliver = null;
  #waiting = []; // candidates gathered before there was a call
  #offering; // promise of the offer's text

  /** Its offer lies in the ticket, and need not be sent when somebody is found. */
  inTicket = false;

  constructor(ice, track) {
    this.pc = new RTCPeerConnection({
      ...configuration(ice),
      bundlePolicy: "max-bundle",
      rtcpMuxPolicy: "require",
      iceCandidatePoolSize: 1,
    });
    this.#pooled = this.pc.getConfiguration().iceCandidatePoolSize === 1;
    this.pc.onicecandidate = ({ candidate }) => this.#gathered(candidate);
    this.transceiver = this.pc.addTransceiver(track ?? "audio", { direction: "sendrecv" });
    this.#offering = this.pc.createOffer();
    this.#offering.catch(() => {}); // heard of by whoever needs it
    if (ice) this.serve(ice);
  }

  /** This is its place on the relay. The same place with a later expiry changes nothing. */
  serve(ice) {
    if (place(ice) === place(this.#ice)) return;
    if (this.#ice || this.pc.iceGatheringState === "new") this.pc.setConfiguration({ ...this.pc.getConfiguration(), ...configuration(ice) });
    this.#ice = ice;
    if (!this.#pooled && this.pc.signalingState === "stable") this.#set().catch(() => {});
  }

  /** Without a word from the server, hide: a call that fails can be repeated, an address that was shown cannot be taken back. */
  get relayOnly() {
    return this.#ice?.policy !== "all";
  }

  /** What the call may use, which can be less than what the ticket might have. */
  restrict(ice) {
    this.serve(ice);
    if (ice.policy !== this.#ice.policy) {
      this.#ice = { ...this.#ice, policy: ice.policy };
      this.pc.setConfiguration({ ...this.pc.getConfiguration(), iceTransportPolicy: configuration(ice).iceTransportPolicy });
    }
  }

  async offer() {
    return withoutCandidates((await this.#offering).sdp);
  }

  /** The line is an offerer's: its offer counts from now on. */
  async becomeOfferer() {
    await this.#set();
  }

  /**
   * The line is an answerer's. Returns the answer as soon as it is written; `settle` makes it count. A provisional answer comes
   * first, because browsers throw away what they gathered in advance when an answer is set, but not when a provisional one is.
   */
  async becomeAnswerer(sdp) {
    this.#waiting = []; // of an offer that is taken back
    await this.pc.setRemoteDescription({ type: "offer", sdp });
    const unused = this.transceiver;
    this.transceiver = this.pc.getTransceivers().find((one) => one.mid !== null && one !== unused) ?? unused;
    this.transceiver.direction = "sendrecv";
    if (this.transceiver !== unused) {
      await this.transceiver.sender.replaceTrack(unused.sender.track);
      unused.stop();
    }
    const answer = await this.pc.createAnswer();
    const settle = async () => {
      if (this.#pooled) await this.pc.setLocalDescription({ type: "pranswer", sdp: answer.sdp });
      await this.pc.setLocalDescription(answer);
    };
    return { sdp: withoutCandidates(answer.sdp), settle };
  }

  async useTrack(track) {
    await this.transceiver.sender.replaceTrack(track);
  }

  /** Somebody wants the candidates: those there are, and each that comes. `null` ends a generation. */
  onCandidate(deliver) {
    this.#deliver = deliver;
  }

  /** What was gathered for an offer that has just been, or will be, sent. */
  releaseCandidates() {
    for (const candidate of this.#waiting.splice(0)) this.#deliver(candidate);
  }

  close() {
    this.pc.onicecandidate = null;
    this.pc.close();
  }

  async #set() {
    const offer = await this.#offering;
    if (this.pc.signalingState === "stable" && !this.pc.localDescription) await this.pc.setLocalDescription(offer);
  }

  #gathered(candidate) {
    if (candidate?.candidate === "") return; // end of one generation; the null that follows says the same
    if (this.#deliver) this.#deliver(candidate);
    else this.#waiting.push(candidate);
  }
}

function configuration(ice) {
  return { iceServers: ice?.servers ?? [], iceTransportPolicy: ice?.policy === "all" ? "all" : "relay" };
}

/** A user name is `1.<expiry>.<place on the relay>.<generation>`: the same place comes again with a later expiry. */
function place(ice) {
  return ice?.servers?.[0]?.username?.split(".").slice(2).join(".");
}

/** Candidates travel as `cand`, one by one, where the server can check them. */
export function withoutCandidates(sdp) {
  return sdp.replace(/^a=(candidate|end-of-candidates).*\r\n/gm, "");
}
