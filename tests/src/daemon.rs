//! One relay process under test: built, started on free ports, asked where it listens, stopped.

use crate::process::Process;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The key of [`crate::Claims::sign`], known to every daemon started here.
pub const DEV_KEY: &str = "a secret that only these tests know, 32 bytes or more";
/// `iss` of the tokens.
pub const ISSUER: &str = "https://app.example";
/// `aud` of the tokens.
pub const AUDIENCE: &str = "voice";

/// Loopback, ports chosen by the kernel, one relayed address, tokens signed with [`DEV_KEY`], the demo page on; SIGTERM ends it at
/// once, whatever a test has left behind.
const LOCAL: &str = r#"
[listen]
udp = ["127.0.0.1:0"]
signalling = "127.0.0.1:0"
admin = "127.0.0.1:0"

[relay]
realm = "e2e.test"
addresses = ["127.0.0.1"]

[auth]
users = { alice = "alice's long secret" }
tokens = []

[limits]
exempt = ["127.0.0.0/8", "::1/128"]

[drain]
deadline_secs = 0

[signalling]
demo_page = true
"#;

/// A configuration under construction.
#[derive(Clone, Default)]
pub struct Builder {
    settings: toml::Table,
    environment: Vec<(String, String)>,
    certificate: bool,
    arguments: Vec<String>,
    under: Vec<String>,
    namespace: Option<String>,
}

/// A running relay. Stopped and its files removed when dropped.
pub struct Daemon {
    process: Process,
    turn: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    signalling: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    settings: toml::Table,
    pub(crate) directory: PathBuf,
}

/// Whose tokens [`crate::Claims`] are, as settings.
pub fn app() -> String {
    format!(
        "auth.issuer = '{ISSUER}'\nauth.audience = '{AUDIENCE}'\nauth.tokens = [{{ kid = 'dev', alg = 'HS256', secret = '{DEV_KEY}' }}]"
    )
}

impl Daemon {
    /// The settings most tests want; change single ones with [`Builder::set`].
    pub fn local() -> Builder {
        Builder::default().set(LOCAL).set(&app())
    }

    /// With one TURN listener, `udp`, `tcp` or `tls`, so that its clients are told of nothing else and nothing else would work.
    pub fn speaking_only(transport: &str) -> Daemon {
        let address = |name| if name == transport { "'127.0.0.1:0'" } else { "" };
        let listeners = ["udp", "tcp", "tls"].map(|name| format!("listen.{name} = [{}]\n", address(name)));
        let builder = Daemon::local().set(&listeners.concat()).with_certificate();
        if transport == "tls" { builder.known_by_name().start() } else { builder.start() }
    }

    /// Exactly this configuration and nothing else.
    pub fn configured(toml: &str) -> Builder {
        Builder::default().set(toml)
    }

    /// The first TURN/UDP listener.
    pub fn turn(&self) -> SocketAddr {
        *self.turn.first().expect("this daemon has no UDP listener")
    }

    /// All TURN/UDP listeners in the order of the configuration.
    pub fn turns(&self) -> &[SocketAddr] {
        &self.turn
    }

    /// The first TURN/TCP listener.
    pub fn tcp(&self) -> SocketAddr {
        *self.tcp.first().expect("this daemon has no TCP listener")
    }

    /// The first TURN/TLS listener.
    pub fn tls(&self) -> SocketAddr {
        *self.tls.first().expect("this daemon has no TLS listener")
    }

    /// All TURN/TCP listeners in the order of the configuration.
    pub fn tcps(&self) -> &[SocketAddr] {
        &self.tcp
    }

    /// All TURN/TLS listeners in the order of the configuration.
    pub fn tlss(&self) -> &[SocketAddr] {
        &self.tls
    }

    /// Where `pair.v1` and the page are.
    pub fn signalling(&self) -> SocketAddr {
        self.signalling.expect("this daemon has no signalling listener")
    }

    /// Health and metrics.
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("this daemon has no admin listener")
    }

    /// The page's address.
    pub fn page(&self) -> String {
        format!("http://{}/", self.signalling())
    }

    /// The file of the authority that signed its certificate.
    pub fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The process, for its log, its id, and stopping it early.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Changes its configuration file, as [`Builder::set`] does, and tells it to read it again.
    pub fn reload(&mut self, toml: &str) {
        self.rewrite(toml);
        self.signal(libc::SIGHUP);
    }

    /// Changes its configuration file, as [`Builder::set`] does. It is not told.
    pub fn rewrite(&mut self, toml: &str) {
        let more: toml::Table = toml.parse().unwrap_or_else(|error| panic!("not TOML: {error}\n{toml}"));
        merge(&mut self.settings, more);
        self.write();
    }

    /// Takes a key out of its configuration file. It is not told.
    pub fn rewrite_without(&mut self, section: &str, key: &str) {
        let section = self.settings.get_mut(section).and_then(toml::Value::as_table_mut);
        assert!(section.is_some_and(|section| section.remove(key).is_some()), "no {key} in the configuration");
        self.write();
    }

    fn write(&self) {
        std::fs::write(self.directory.join("relay.toml"), self.settings.to_string()).unwrap();
    }

    /// Puts this in the place of its configuration file and tells it to read it again.
    pub fn reload_text(&mut self, text: &str) {
        std::fs::write(self.directory.join("relay.toml"), text).unwrap();
        self.signal(libc::SIGHUP);
    }

    /// Sends the process a signal.
    pub fn signal(&mut self, signal: i32) {
        self.process.signal(signal);
    }

    /// Returns when it has printed these words: what it says on one stream may be read after what it said later on the other.
    pub fn says(&self, words: &str) {
        let start = Instant::now();
        while !self.log().contains(words) {
            assert!(start.elapsed() < crate::PATIENCE, "it does not say {words:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Everything the daemon has printed.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.stop();
        let _ = std::fs::remove_dir_all(&self.directory);
        if std::thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}\n---", self.process.log());
        }
    }
}

impl Builder {
    /// Overrides settings with a piece of TOML: tables are merged, anything else is replaced.
    #[must_use]
    pub fn set(mut self, toml: &str) -> Builder {
        let more: toml::Table = toml.parse().unwrap_or_else(|error| panic!("not TOML: {error}\n{toml}"));
        merge(&mut self.settings, more);
        self
    }

    /// Adds an environment variable, such as a log level.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Builder {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an argument of the command line, such as `--log=trace`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Builder {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Runs it under another program that becomes it (`prlimit --nofile=64`): the process id stays that of the relay.
    #[must_use]
    pub fn under(mut self, program: &[&str]) -> Builder {
        self.under = program.iter().map(ToString::to_string).collect();
        self
    }

    /// Gives it a certificate for [`crate::certificate::NAME`], in files that the test may replace.
    #[must_use]
    pub fn with_certificate(mut self) -> Builder {
        self.certificate = true;
        self.set("tls = { certificate = 'cert.pem', private_key = 'key.pem' }")
    }

    /// Listens for TLS on a port chosen beforehand and says so by name: Firefox takes no `turns:` URL with an address in it.
    fn known_by_name(self) -> Builder {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        self.set(&format!(
            "listen.tls = ['127.0.0.1:{port}']\nsignalling.turn_urls = ['turns:localhost:{port}?transport=tcp']"
        ))
    }

    /// Runs it in this network namespace.
    #[must_use]
    pub fn inside(mut self, namespace: &str) -> Builder {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// What a relay says that does not start.
    pub fn refused(self) -> String {
        let (mut process, directory, _) = self.launch();
        crate::eventually("the end of a relay that should not start", || (!process.is_running()).then_some(()));
        // What it said last is read after its end.
        let said = crate::eventually("its last words", || Some(process.log()).filter(|log| !log.is_empty()));
        let _ = std::fs::remove_dir_all(directory);
        said
    }

    /// Starts the relay and waits until it says `ready`.
    pub fn start(self) -> Daemon {
        let (mut process, directory, settings) = self.launch();
        process.wait_for("ready", |line| (line.trim() == "ready").then_some(()));
        let log = process.log();
        Daemon {
            turn: listening(&log, "turn udp "),
            tcp: listening(&log, "turn tcp "),
            tls: listening(&log, "turn tls "),
            signalling: listening(&log, "signalling http://").first().copied(),
            admin: listening(&log, "admin http://").first().copied(),
            process,
            settings,
            directory,
        }
    }

    fn launch(self) -> (Process, PathBuf, toml::Table) {
        let directory = own_directory();
        let file = directory.join("relay.toml");
        if self.certificate {
            crate::certificate::write(&directory);
        }
        std::fs::write(&file, self.settings.to_string()).unwrap();
        let binary = binary();
        let program = self.under.first().map_or(binary, Path::new);
        let mut command = match &self.namespace {
            Some(namespace) => crate::network::command_inside(namespace, program),
            None => Command::new(program),
        };
        if !self.under.is_empty() {
            command.args(&self.under[1..]).arg(binary);
        }
        command.arg("--config").arg(&file).args(self.arguments).envs(self.environment);
        let process =
            Process::start(&mut command, "see the message above; RELAY_BIN may point to a relay built elsewhere");
        (process, directory, self.settings)
    }
}

/// Addresses from lines like `listening turn udp 127.0.0.1:3478`.
fn listening(log: &str, what: &str) -> Vec<SocketAddr> {
    let lines = log.lines().filter_map(|line| line.strip_prefix("listening ")?.strip_prefix(what));
    lines.filter_map(|address| address.trim().trim_end_matches('/').parse().ok()).collect()
}

fn merge(into: &mut toml::Table, more: toml::Table) {
    for (key, value) in more {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

/// The relay under test. `cargo test -p e2e` builds the relay's library but not its program (only a package's own programs are
/// built for its tests), so it is built here, once per test run, in the same profile and target directory: a stale program
/// would be tested silently otherwise, and a fresh one costs a fraction of a second. `RELAY_BIN` names another one instead.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("RELAY_BIN") {
        Some(path) => PathBuf::from(path),
        None => build("relay"),
    })
}

/// Builds a program of the workspace beside this test executable and says where it is.
pub fn build(package: &str) -> PathBuf {
    let profile = profile_directory();
    let name = profile.file_name().and_then(|name| name.to_str()).unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What cargo tells a test about its own package would look like a change to build scripts that read it (ring's does), and half
    // of the dependencies would be built anew on every run, forth and back.
    for (name, _) in std::env::vars_os() {
        let set_by_cargo =
            ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix));
        if set_by_cargo {
            command.env_remove(name);
        }
    }
    // As in release builds.
    let features: &[&str] = if package == "relay" { &["--features", "nats"] } else { &[] };
    let status = command
        .args(["build", "--quiet", "--package", package, "--bin", package])
        .args(features)
        .args(["--profile", if name == "debug" { "dev" } else { name }])
        .arg("--target-dir")
        .arg(target_directory())
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status();
    assert!(status.is_ok_and(|status| status.success()), "`cargo build -p {package}` failed: fix that first");
    profile.join(package)
}

/// `target/debug`, or another profile's.
fn profile_directory() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).expect("tests run from target/<profile>/deps").to_owned()
}

/// Cargo's target directory.
pub fn target_directory() -> PathBuf {
    profile_directory().parent().unwrap().to_owned()
}

/// A directory of this test's own under the system's temporary one.
pub(crate) fn own_directory() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("e2e-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}
