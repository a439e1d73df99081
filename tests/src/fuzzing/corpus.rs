//! The files the targets start from: what each target's `seeds` make, and what guided runs found worth keeping.

use std::fs;
use std::path::PathBuf;

/// What lies in `tests/fuzz/corpus/<target>`, in the order of the names.
pub fn read_corpus(target: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder(target)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| is_kept(path)).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a readable seed")).collect()
}

/// Guided runs drop their own finds, named by a hash, into the same folder: those are not ours until they get a name.
fn is_kept(path: &std::path::Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains('-'))
}

fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", target].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::TARGETS;

    /// After a change of `seeds`: `cargo test -p e2e --lib write_the_seeds -- --ignored`.
    #[test]
    #[ignore = "writes into tests/fuzz/corpus"]
    fn write_the_seeds() {
        for target in &TARGETS {
            fs::create_dir_all(folder(target.name)).unwrap();
            for (number, seed) in (target.seeds)().iter().enumerate() {
                fs::write(folder(target.name).join(format!("seed-{number:02}")), seed).unwrap();
            }
        }
    }
}
