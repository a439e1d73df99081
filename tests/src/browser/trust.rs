//! An NSS database, where both browsers keep the authorities that were added by hand.

use std::path::Path;
use std::process::Command;

const FIX: &str = "apt-get install libnss3-tools (tests/run.sh does it)";

/// Has what `authority` (a PEM file) signs trusted for TLS by whoever uses the database in this folder.
pub(super) fn add(authority: &Path, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let database = format!("sql:{}", folder.display());
    certutil(&["-N", "-d", &database, "--empty-password"]);
    certutil(&["-A", "-d", &database, "-n", "e2e", "-t", "C,,", "-i", authority.to_str().unwrap()]);
}

fn certutil(arguments: &[&str]) {
    let output = Command::new("certutil").args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start certutil: {error}. Fix: {FIX}"));
    assert!(output.status.success(), "certutil {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
