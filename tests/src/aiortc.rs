//! Calls between callers that are not ours: `interop/callers.py`, aiortc in a virtual environment that `tests/run.sh` makes.

use crate::daemon::target_directory;
use crate::process::Process;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const FIX: &str =
    "tests/run.sh makes the virtual environment; INTEROP_PYTHON may name a Python that has interop/requirements.txt";

/// How long a whole plan may take.
const PLAN: Duration = Duration::from_secs(600);

/// Has all calls of a plan made (`callers.py` says what a plan is) and returns its line for each, in the order they ended.
/// `authority`: a PEM file whose signatures the callers trust.
pub fn make_calls(plan: &Value, authority: &Path) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/callers.py");
    let file = crate::daemon::own_directory().join("plan.json");
    std::fs::write(&file, plan.to_string()).unwrap();
    let mut command = Command::new(python());
    command.arg(script).arg(&file).env("SSL_CERT_FILE", authority);
    let mut process = Process::start(&mut command, FIX);
    process.wait_up_to(PLAN, "finished", |line| (line == "finished").then_some(()));
    let _ = std::fs::remove_dir_all(file.parent().unwrap());
    process.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Python with what `tests/interop/requirements.txt` names.
pub fn python() -> PathBuf {
    match std::env::var_os("INTEROP_PYTHON") {
        Some(path) => PathBuf::from(path),
        None => target_directory().join("interop/bin/python"),
    }
}
