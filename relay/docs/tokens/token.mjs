// The token for one connection of one user, by an app's backend: EdDSA, so that a stolen relay can verify but not mint. Node 16 or later.
import { createHmac, createPrivateKey, randomUUID, sign } from "node:crypto";

const b64 = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

export function token(userId, { level, gender, band, card }) {
  const { PAIR_ISSUER: iss, PAIR_AUDIENCE: aud, PAIR_PRIVATE_KEY, PAIR_PSEUDONYMS } = process.env;
  const key = createPrivateKey(PAIR_PRIVATE_KEY); // PEM; [auth] tokens = [{ kid = "app-2", alg = "EdDSA", public_key = "…" }]
  const now = Math.floor(Date.now() / 1000);
  const sub = createHmac("sha256", PAIR_PSEUDONYMS).update(userId).digest("base64url").slice(0, 22); // never the id itself
  const claims = { iss, aud, iat: now, nbf: now, exp: now + 300, jti: randomUUID(), sub, age: { ok: true, band }, g: gender, lvl: level };
  const signed = `${b64({ typ: "JWT", alg: "EdDSA", kid: "app-2" })}.${b64({ ...claims, gp: ["f", "m", "x"], card })}`;
  return `${signed}.${sign(null, Buffer.from(signed), key).toString("base64url")}`;
}

if (process.argv[2]) console.log(token(process.argv[2], { level: "B1", gender: "x", band: "18+", card: { n: "Lea" } }));
