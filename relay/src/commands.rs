//! What each command does.

pub(crate) mod coturn;
pub(crate) mod doctor;

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::TryRngCore as _;
use relay::config::{self, CallPath, RelayAddress, Secret, Settings, User};
use relay::prove;
use relay::server::{self, Addresses, Succession};

use crate::cli::{Credentials, Prove};

/// Could not start, or broke while running.
const FAILED: u8 = 1;
/// Wrong arguments or a broken file.
const MISUSED: u8 = 2;

/// Name of the user that `relay` without a file makes.
const LOCAL_USER: &str = "local";

/// `relay`: embedded defaults, a password for this run, and how to try it.
pub(crate) fn run_local() -> ExitCode {
    let mut bytes = [0; 16];
    if rand::rngs::OsRng.try_fill_bytes(&mut bytes).is_err() {
        return fail(FAILED, "the system gives no random bytes, so no password can be made");
    }
    let password = format!("{:032x}", u128::from_le_bytes(bytes));
    let mut settings = Settings::local_defaults();
    settings.auth.users.push(User { name: LOCAL_USER.to_owned(), password: Secret::new(password.as_str()) });
    let no_file = || Err("this server was started without a configuration file".to_owned());
    serve(&settings, None, |addresses| how_to_try(addresses, &password), no_file, None)
}

/// `relay --config FILE`.
pub(crate) fn run(file: &Path, succession: Option<Succession<'_>>) -> ExitCode {
    match load(file) {
        Ok(settings) => {
            for notice in settings.notices() {
                tracing::warn!("{notice}");
            }
            serve(&settings, Some(file), |_| String::new(), || load(file), succession)
        }
        Err(problems) => fail(MISUSED, &problems),
    }
}

/// `relay check --config FILE`.
pub(crate) fn check(file: &Path) -> ExitCode {
    match load(file) {
        Ok(settings) => {
            if let Err(problem) = server::check(&settings) {
                return fail(MISUSED, &format!("{}: {problem}", file.display()));
            }
            print(&format!("{}: no problems\n{}", file.display(), summary(&settings)));
            ExitCode::SUCCESS
        }
        Err(problems) => fail(MISUSED, &problems),
    }
}

/// `relay credentials --config FILE`.
pub(crate) fn credentials(file: &Path, wanted: &Credentials) -> ExitCode {
    let settings = match load(file) {
        Ok(settings) => settings,
        Err(problems) => return fail(MISUSED, &problems),
    };
    let Some(newest) = settings.auth.rest_secrets.first() else {
        return fail(
            MISUSED,
            &format!("{}: time-limited credentials need a secret in [auth] rest_secrets", file.display()),
        );
    };
    let username = limited_name(&wanted.user, wanted.ttl);
    let password = rest_password(newest, &username);
    print(&format!("username {username}\npassword {password}\nttl_secs {}\n", wanted.ttl));
    ExitCode::SUCCESS
}

/// `relay prove`, of the daemon of a file, of an address, or of the one that `relay` without arguments runs.
pub(crate) fn prove(file: Option<&Path>, wanted: &Prove) -> ExitCode {
    let settings = match file.map(load).transpose() {
        Ok(settings) => settings.unwrap_or_else(Settings::local_defaults),
        Err(problems) => return fail(MISUSED, &problems),
    };
    let Some(admin) = wanted.admin.or(settings.listen.admin) else {
        return fail(
            MISUSED,
            "the daemon is asked through its admin listener: set [listen] admin, or name it with --admin",
        );
    };
    let proof = match prove::look(admin) {
        Ok(proof) => proof,
        Err(error) => return fail(FAILED, &error.to_string()),
    };
    print(&if wanted.json { format!("{}\n", serde_json::json!(proof)) } else { prove::text(&proof) });
    if proof.proven { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// `relay explain`.
pub(crate) fn explain(key: Option<&str>) -> ExitCode {
    match config::explain(key) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(why) => fail(MISUSED, &why),
    }
}

/// `relay completions` and `relay man`. A reader that went away has seen enough.
pub(crate) fn shown(write: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>) -> ExitCode {
    match write(&mut io::stdout().lock()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(MISUSED, &error.to_string()),
        _ => ExitCode::SUCCESS,
    }
}

pub(crate) fn usage(message: &str) -> ExitCode {
    fail(MISUSED, &format!("{message}; see relay --help"))
}

fn serve(
    settings: &Settings,
    file: Option<&Path>,
    farewell: impl FnOnce(&Addresses) -> String,
    reread: impl Fn() -> Result<Settings, String>,
    succession: Option<Succession<'_>>,
) -> ExitCode {
    let announce = |addresses: &Addresses| print(&format!("{addresses}ready\n{}", farewell(addresses)));
    match server::serve(settings, file, announce, reread, succession) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, &error.to_string()),
    }
}

/// The file's settings, or what is wrong with it as text for the operator.
fn load(file: &Path) -> Result<Settings, String> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(|error| format!("{name}: cannot be read: {error}"))?;
    let folder = file.parent().unwrap_or_else(|| Path::new(""));
    config::parse(&text, folder).map_err(|problems| {
        let count = problems.count();
        let noun = if count == 1 { "problem" } else { "problems" };
        format!("{}\n{count} {noun} in {name}", problems.in_file(&name))
    })
}

/// `TIME:NAME`, good for so long from now on.
fn limited_name(user: &str, ttl_secs: u32) -> String {
    let expires = relay::clock::Clock::start().now().unix.0 + u64::from(ttl_secs);
    format!("{expires}:{user}")
}

/// base64(HMAC-SHA1(secret, user name)), draft-uberti-behave-turn-rest §2.2.
fn rest_password(secret: &Secret, username: &str) -> String {
    let Ok(mut mac) = Hmac::<sha1::Sha1>::new_from_slice(secret.expose().as_bytes()) else {
        unreachable!("an HMAC takes keys of any length")
    };
    mac.update(username.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn summary(settings: &Settings) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<12} {value}\n"));
    let list = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    for (name, addresses) in
        [("udp", &settings.listen.udp), ("tcp", &settings.listen.tcp), ("tls", &settings.listen.tls)]
    {
        if !addresses.is_empty() {
            line(name, list(addresses));
        }
    }
    line("relayed", relayed(settings));
    line(
        "users",
        format!(
            "{} lasting, {} secrets for time-limited ones",
            settings.auth.users.len(),
            settings.auth.rest_secrets.len()
        ),
    );
    if let Some(address) = settings.listen.signalling {
        let page = if settings.signalling.demo_page { ", demo page on" } else { "" };
        let path = match settings.calls.path {
            CallPath::Relay => "all media relayed",
            CallPath::DirectFirst => "direct first",
        };
        line("signalling", format!("{address}, {} token keys{page}, {path}", settings.auth.tokens.len()));
    }
    if let Some(address) = settings.listen.admin {
        line("admin", address.to_string());
    }
    if let Some(cluster) = &settings.cluster {
        let node = cluster.node.as_deref().unwrap_or("this machine's name");
        line("cluster", format!("node {node}, {} brokers, {} keys", cluster.brokers.len(), cluster.keys.len()));
        let rules = relay::config::rules(settings);
        line(
            "",
            format!(
                "settings that must be alike on every node: {rules:016x} ([matching], [calls], whose tokens in [auth])"
            ),
        );
    }
    for notice in settings.notices() {
        line("note:", notice);
    }
    text
}

fn relayed(settings: &Settings) -> String {
    let name = |address: &RelayAddress| {
        if address.bind == address.public {
            address.public.to_string()
        } else {
            format!("{} (bound at {})", address.public, address.bind)
        }
    };
    let addresses = settings.relay_addresses().iter().map(name).collect::<Vec<_>>().join(", ");
    let ports = &settings.relay.ports;
    format!("{addresses}, ports {}-{}", ports.start(), ports.end())
}

fn how_to_try(addresses: &Addresses, password: &str) -> String {
    let turn = addresses.udp.first().copied();
    let (ip, port) = turn.map_or_else(Default::default, |turn| (turn.ip().to_string(), turn.port().to_string()));
    let http = |address: Option<SocketAddr>| address.map(|address| format!("http://{address}")).unwrap_or_default();
    format!(
        "\nTry it; everything stays on this machine, Ctrl-C ends it:\n\
         \x20 a call     open {page} in two tabs\n\
         \x20 TURN       turnutils_uclient -y -c -u {LOCAL_USER} -w {password} -p {port} {ip}\n\
         \x20 numbers    open {admin} in a browser, or curl {admin}/metrics\n\
         \x20 secret     user {LOCAL_USER}, password {password}: made for this run, gone when it ends\n\
         \x20 real use   relay --help\n",
        page = http(addresses.signalling),
        admin = http(addresses.admin),
    )
}

/// Standard output may be closed by whoever started us; that is no reason to stop.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn fail(code: u8, message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by another program: `printf %s 1767225600:alice | openssl dgst -sha1 -hmac "the newest of secrets" -binary | base64`.
    #[test]
    fn time_limited_passwords_are_those_of_the_draft() {
        let password = rest_password(&Secret::new("the newest of secrets"), "1767225600:alice");
        assert_eq!(password, "91P2ltUB5YOdUF92d0CwnofaJPM=");
    }
}
