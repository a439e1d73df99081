// The microphone: asked for, refused, muted, lost, chosen among several. None of these is an error.

const WISHES = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

export class Microphone {
  #wishes;
  #out; // { state(state), track(track or null) }
  #stream = null;
  #asked = 0; // which request for the microphone still counts
  #muted = false;

  /** "off" | "asking" | "on" | "muted" | "refused" | "missing" | "lost" */
  state = "off";

  constructor(constraints, out) {
    this.#wishes = constraints ?? { audio: WISHES, video: false };
    this.#out = out;
  }

  get stream() {
    return this.#stream;
  }

  get track() {
    return this.#stream?.getAudioTracks()[0] ?? null;
  }

  /** Asks for it; may be called again after a refusal, also in mid-call. Never throws. */
  async open() {
    if (!this.#stream && this.state !== "asking") await this.#ask();
  }

  /** Another one from now on; `null` is the system's choice. The old one is heard until the new one can be. */
  async choose(deviceId) {
    const audio = typeof this.#wishes.audio === "object" ? { ...this.#wishes.audio } : { ...WISHES };
    delete audio.deviceId;
    if (deviceId) audio.deviceId = { exact: deviceId };
    this.#wishes = { ...this.#wishes, audio };
    if (this.#stream) await this.#ask();
  }

  mute(muted) {
    this.#muted = muted;
    for (const track of this.#stream?.getAudioTracks() ?? []) track.enabled = !muted;
    if (this.state === "on" || this.state === "muted") this.#set(muted ? "muted" : "on");
  }

  close() {
    this.#asked += 1;
    stop(this.#stream);
    this.#stream = null;
    this.#set("off");
  }

  async #ask() {
    const asked = ++this.#asked;
    const before = this.#stream;
    if (!before) this.#set("asking");
    try {
      const stream = await navigator.mediaDevices.getUserMedia(this.#wishes);
      if (asked !== this.#asked) return stop(stream); // answered after what it was for had ended
      this.#stream = stream;
      const [track] = stream.getAudioTracks();
      track.enabled = !this.#muted;
      track.addEventListener("ended", () => this.#lost(stream)); // revoked or unplugged; not fired by our own stop()
      await this.#out.track(track);
      stop(before);
      this.#set(this.#muted ? "muted" : "on", before !== null); // another stream is news, though the state is the same
    } catch (error) {
      if (asked === this.#asked && !before) this.#set(error?.name === "NotAllowedError" ? "refused" : "missing");
    }
  }

  #lost(stream) {
    if (this.#stream !== stream) return;
    this.#stream = null;
    this.#out.track(null);
    this.#set("lost");
  }

  #set(state, news = false) {
    if (state === this.state && !news) return;
    this.state = state;
    this.#out.state(state);
  }
}

function stop(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
