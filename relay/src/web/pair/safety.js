// A code over both ends of the encryption, short enough to be read to each other.

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
