// What both sides typed, in memory and for this call only; longer only while a report about it is being written.

/** Longest transcript kept. */
const TEXTS_MAX = 200;
/** `text` longer than this is refused by the server. */
const TEXT_MAX_CHARS = 2000;
/** For a report: texts in it, and bytes, so that its frame stays within the server's limit. */
const EVIDENCE_MAX = 50;
const EVIDENCE_MAX_BYTES = 12000;
/** The last partner can be blocked or reported for so long. */
export const LAST_CALL_MS = 600_000;

export class Transcript {
  #sent = 0;
  #last = null; // { call, at }: the call before, for `block` and `report`
  #draft = null; // { call, evidence, timer }: a report being written

  /** Oldest first; the same array for good, emptied when a call ends. */
  texts = [];

  /** What will be sent of what somebody typed; null for nothing. Halves of a character are not JSON. */
  compose(text) {
    const body = [...String(text)].slice(0, TEXT_MAX_CHARS).join("").replace(/\p{Surrogate}/gu, "\ufffd");
    return body === "" ? null : { from: "self", k: ++this.#sent, text: body };
  }

  remember(line) {
    this.texts.push(line);
    if (this.texts.length > TEXTS_MAX) this.texts.shift();
    return line;
  }

  /** The server did not take it: the partner never saw it. */
  refused(k) {
    const line = this.texts.findLast((line) => line.from === "self" && line.k === k);
    if (line) line.undelivered = true;
  }

  /** The call is over: its text is gone, unless it is evidence. */
  close(call) {
    this.#last = { call, at: Date.now() };
    if (this.#draft?.call === call) this.#draft.evidence = this.#evidence();
    this.texts.length = 0;
    this.#sent = 0;
  }

  /** The connection is over: with it whatever could still have been said about the last call. */
  forget() {
    this.#last = null;
    this.cancelReport();
  }

  /** The call before, while it can still be blocked or reported. */
  get lastCall() {
    return this.#last && Date.now() - this.#last.at < LAST_CALL_MS ? this.#last.call : null;
  }

  beginReport(call) {
    this.#draft ??= { call, evidence: null, timer: setTimeout(() => this.cancelReport(), LAST_CALL_MS) };
    return { call: this.#draft.call, ev: this.#draft.evidence ?? this.#evidence() };
  }

  get reporting() {
    return this.#draft !== null;
  }

  cancelReport() {
    clearTimeout(this.#draft?.timer);
    this.#draft = null;
  }

  /** The partner's last texts with their tags, as many as fit. */
  #evidence() {
    const said = this.texts.filter((line) => line.from === "peer" && line.tag).slice(-EVIDENCE_MAX);
    const evidence = said.map(({ k, text, tag }) => ({ k, b: text, tag }));
    const size = () => new TextEncoder().encode(JSON.stringify(evidence)).length;
    while (size() > EVIDENCE_MAX_BYTES) evidence.shift();
    return evidence;
  }
}
