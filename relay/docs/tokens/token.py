"""The token for one connection of one user, by an app's backend: HS256, nothing but the standard library."""
import base64, hashlib, hmac, json, os, secrets, sys, time

def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

def token(user_id: str, level: str, gender: str, band: str, card: dict) -> str:
    key = os.environ["PAIR_SECRET"].encode()  # [auth] tokens = [{ kid = "app-1", alg = "HS256", secret = "…" }]
    now = int(time.time())
    sub = b64(hmac.digest(key, b"pseudonym " + user_id.encode(), "sha256"))[:22]  # never the id itself, never an e-mail
    header = {"typ": "JWT", "alg": "HS256", "kid": "app-1"}
    claims = {"iss": os.environ["PAIR_ISSUER"], "aud": os.environ["PAIR_AUDIENCE"], "iat": now, "nbf": now, "exp": now + 300,
              "jti": secrets.token_urlsafe(16), "sub": sub, "age": {"ok": True, "band": band}, "g": gender, "lvl": level,
              "gp": ["f", "m", "x"], "card": card}
    signed = ".".join(b64(json.dumps(part).encode()) for part in (header, claims))
    return signed + "." + b64(hmac.digest(key, signed.encode(), "sha256"))

if __name__ == "__main__":
    print(token(sys.argv[1], "B1", "x", "18+", {"n": "Lea"}))
