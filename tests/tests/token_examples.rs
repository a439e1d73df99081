//! The examples for an app's backend in `relay/docs/tokens`, run as they are: the daemon must take what they mint.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use e2e::{Caller, Daemon};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData};
use std::process::Command;

const SECRET: &str = "a secret between backend and relay, 32 bytes or more";
/// An example that is longer is no example any more.
const LINES_MAX: usize = 20;

#[tokio::test]
async fn python_mints_a_token_that_lets_somebody_in() {
    is_let_in("python3", "token.py").await;
}

#[tokio::test]
async fn node_mints_a_token_that_lets_somebody_in() {
    is_let_in("node", "token.mjs").await;
}

#[tokio::test]
async fn php_mints_a_token_that_lets_somebody_in() {
    is_let_in("php", "token.php").await;
}

async fn is_let_in(interpreter: &str, file: &str) {
    let path = format!("{}/../relay/docs/tokens/{file}", env!("CARGO_MANIFEST_DIR"));
    assert!(std::fs::read_to_string(&path).unwrap().lines().count() <= LINES_MAX, "{file} is too long for an example");
    if Command::new(interpreter).arg("--version").output().is_err() {
        let why = format!(
            "not tested: {file}, because there is no `{interpreter}`: apt-get install {}",
            package(interpreter)
        );
        e2e::report(&format!("not-tested-{interpreter}.txt"), &why);
        return;
    }
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let public = BASE64URL.encode(key.der_bytes());
    let daemon = Daemon::local()
        .set(&format!(
            "auth.tokens = [{{ kid = 'app-1', alg = 'HS256', secret = '{SECRET}' }}, \
             {{ kid = 'app-2', alg = 'EdDSA', public_key = '{public}' }}]"
        ))
        .start();
    let mut tokens = Vec::new();
    for user in ["user 17", "user 18", "user 17"] {
        let mut command = Command::new(interpreter);
        command.arg(&path).arg(user).env("PAIR_SECRET", SECRET).env("PAIR_PSEUDONYMS", SECRET);
        command.env("PAIR_PRIVATE_KEY", pem(&key.serialize_der()));
        command.env("PAIR_ISSUER", e2e::daemon::ISSUER).env("PAIR_AUDIENCE", e2e::daemon::AUDIENCE);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
        tokens.push(String::from_utf8(output.stdout).unwrap().trim().to_owned());
    }
    let pseudonyms: Vec<String> = tokens.iter().map(|token| pseudonym(token)).collect();
    assert_eq!(pseudonyms[0], pseudonyms[2], "one person has one pseudonym");
    assert_ne!(pseudonyms[0], pseudonyms[1]);
    for token in &tokens {
        let (_caller, welcome) = Caller::connect(&daemon, token).await;
        assert_eq!(welcome["policy"]["text"], true, "{file}: {welcome}");
    }
}

/// What `openssl genpkey -algorithm ed25519` writes: PKCS #8 in its first version. OpenSSL does not read the second, with the public key in it.
fn pem(der: &[u8]) -> String {
    const SEED: [u8; 4] = [0x04, 0x22, 0x04, 0x20];
    let at = der.windows(SEED.len()).position(|window| window == SEED).unwrap() + SEED.len();
    let first = [&b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"[..], &der[at..at + 32]].concat();
    let text = base64::engine::general_purpose::STANDARD.encode(first);
    format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
}

fn pseudonym(token: &str) -> String {
    let claims = BASE64URL.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    claims["sub"].as_str().unwrap().to_owned()
}

fn package(interpreter: &str) -> &str {
    match interpreter {
        "node" => "nodejs",
        "php" => "php-cli",
        other => other,
    }
}
