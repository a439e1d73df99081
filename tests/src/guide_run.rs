//! A guide followed word by word, on a machine made for it: a network namespace with the guides' public addresses, a process namespace that
//! takes everything started in it along when it ends, and a file system of which `/etc`, `/usr`, `/var` and `/run` are the guide's own to
//! change and gone afterwards. The source lies in `/usr/src/relay`, as the guides say. Needs root.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::guide::{Guide, Step, printed};
use crate::network::{Network, command_inside};
use crate::process::Process;

/// The server of all guides, and a second address of it.
const ADDRESSES: [&str; 2] = ["203.0.113.7/24", "203.0.113.8/24"];
/// For a whole guide on a machine that is busy with other tests; they take seconds.
const PATIENCE: Duration = Duration::from_secs(400);
/// A new operator's, not that of whoever runs the tests.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Marks the end of a file in the script; no guide has such a line.
const END: &str = "END-OF-THE-BLOCK";

/// What was measured of a guide that was followed to its end.
pub struct Followed {
    /// From the first command to the last one's end.
    pub took: Duration,
}

/// Why a guide cannot be followed here, if it cannot.
pub fn possible() -> Result<(), String> {
    crate::network::possible()?;
    let layers = "mount -t tmpfs none /run && mkdir /run/a /run/b && mount -t overlay none -o lowerdir=/etc,upperdir=/run/a,workdir=/run/b /etc";
    let tried =
        Command::new("unshare").args(["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", layers]).output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("no file system in layers: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("unshare: {error}")),
    }
}

/// Runs everything in it, with these programs of ours in `/usr/local/bin` and all of them named in the environment (`RELAY`, `LOADGEN`).
///
/// # Errors
/// The line and the output of the block that failed, or that printed something else.
pub fn follow(guide: &Guide, programs: &[&str]) -> Result<Followed, String> {
    let mut network = Network::public();
    let namespace = network.public_host("server", &ADDRESSES);
    let place = Place::new(guide.name());
    let script = place.0.join("script");
    std::fs::write(&script, place.script(guide, programs)).unwrap();
    let mut command = command_inside(&namespace, Path::new("unshare"));
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash"]).arg(&script);
    command.env_clear().env("PATH", PATH);
    let begun = Instant::now();
    let mut process = Process::start(&mut command, "apt-get install util-linux iproute2");
    while process.is_running() && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = process.stop();
    let (last, at) = place.last();
    if status != Some(0) {
        let (file, log) = (guide.path.display(), process.log());
        return Err(format!("{file}:{last}: the commands ended with {status:?}:\n{}\n{log}", place.output(last)));
    }
    place.compare(guide)?;
    Ok(Followed { took: at })
}

/// A folder for a script, what its blocks print, and the directory it runs in.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("e2e-guide-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        for part in ["out", "layers", "here", "home"] {
            std::fs::create_dir_all(folder.join(part)).unwrap();
        }
        Place(folder)
    }

    fn script(&self, guide: &Guide, programs: &[&str]) -> String {
        let folder = self.0.display();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let target = crate::daemon::target_directory();
        let [relay, loadgen] = ["relay", "loadgen"].map(program);
        let mut text = format!(
            "set -e\nmount -t tmpfs none {folder}/layers\n\
             lay() {{ mkdir -p {folder}/layers/$1/up {folder}/layers/$1/work; \
             mount -t overlay none -o lowerdir=$2,upperdir={folder}/layers/$1/up,workdir={folder}/layers/$1/work $3; }}\n\
             for folder in etc usr var; do lay $folder /$folder /$folder; done\n\
             mkdir -p /usr/src/relay; lay source {source} /usr/src/relay\n\
             mount -t tmpfs none /run\n\
             export HOME={folder}/home RELAY={} LOADGEN={} INTEROP={}\ncd {folder}/here\n",
            relay.display(),
            loadgen.display(),
            target.join("interop").display()
        );
        for name in programs {
            writeln!(text, "install -m 755 {} /usr/local/bin/{name}", program(name).display()).unwrap();
        }
        text += "ip route add default dev wan\nbegun=$(date +%s%N)\n";
        for (line, step) in &guide.steps {
            match step {
                Step::Run(commands) | Step::Instead { run: commands, .. } => {
                    writeln!(text, "echo {line} $(($(date +%s%N) - begun)) >>{folder}/at").unwrap();
                    writeln!(text, "{{\n{commands}\n}} >{folder}/out/{line} 2>&1").unwrap();
                }
                Step::Write { file, text: body } => {
                    writeln!(text, "mkdir -p \"$(dirname '{file}')\"\ncat >'{file}' <<'{END}'\n{body}{END}").unwrap();
                }
                Step::Expect(_) | Step::Shown { .. } => {}
            }
        }
        text + &format!("echo 0 $(($(date +%s%N) - begun)) >>{folder}/at\n")
    }

    /// The line of the block that was begun last, and when.
    fn last(&self) -> (usize, Duration) {
        let at = std::fs::read_to_string(self.0.join("at")).unwrap_or_default();
        let last = at.lines().last().and_then(|line| line.split_once(' '));
        last.map_or((0, Duration::ZERO), |(line, nanos)| {
            (line.parse().unwrap(), Duration::from_nanos(nanos.parse().unwrap()))
        })
    }

    fn output(&self, line: usize) -> String {
        let bytes = std::fs::read(self.0.join("out").join(line.to_string())).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn compare(&self, guide: &Guide) -> Result<(), String> {
        let mut ran = 0;
        for (line, step) in &guide.steps {
            match step {
                Step::Run(_) | Step::Instead { .. } => ran = *line,
                Step::Expect(text) => {
                    let got = self.output(ran);
                    if !printed(text, &got) {
                        let file = guide.path.display();
                        return Err(format!(
                            "{file}:{line}: expected\n{text}\nand the block of line {ran} printed\n{got}"
                        ));
                    }
                }
                Step::Write { .. } | Step::Shown { .. } => {}
            }
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn program(name: &str) -> PathBuf {
    if name == "relay" { crate::daemon::binary().to_owned() } else { crate::daemon::build(name) }
}
