// What the server, or the lack of one, said no to.

/** `code` is a `pair.v1` error code or `E_OFFLINE`. */
export class PairError extends Error {
  constructor(code, message, retryMs) {
    super(message || code);
    this.name = "PairError";
    this.code = code;
    this.retryMs = retryMs;
  }
}
