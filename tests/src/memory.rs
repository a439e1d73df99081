//! What is in a process's memory, as root can read it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Read at once; marks that lie across the border are found by reading a little twice.
const CHUNK: usize = 1 << 20;
const OVERLAP: usize = 256;

/// Where each of these is found: the mapping, and a few bytes before and after. At most one place each.
///
/// # Errors
/// Nobody but root may look.
pub fn search(pid: u32, marks: &[Vec<u8>]) -> io::Result<Vec<(usize, String)>> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut found: Vec<(usize, String)> = Vec::new();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).unwrap();
        let (start, end) = (number(start), number(end));
        let mut at = start;
        while at < end {
            let mut bytes = vec![0; CHUNK.min(end - at)];
            // Some mappings cannot be read by anybody (guard pages, what the kernel keeps).
            if memory.read_exact_at(&mut bytes, at as u64).is_ok() {
                look(&bytes, marks, line, &mut found);
            }
            at += CHUNK - OVERLAP;
        }
    }
    Ok(found)
}

fn look(bytes: &[u8], marks: &[Vec<u8>], mapping: &str, found: &mut Vec<(usize, String)>) {
    for (index, mark) in marks.iter().enumerate() {
        if found.iter().any(|(known, _)| *known == index) {
            continue;
        }
        if let Some(at) = find(bytes, mark) {
            let around = &bytes[at.saturating_sub(64)..(at + mark.len() + 64).min(bytes.len())];
            found.push((index, format!("{mapping}: {}", around.escape_ascii())));
        }
    }
}

/// By the first byte, then the rest: fast enough for tens of megabytes.
fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == mark[0]) {
        if bytes[from + at..].starts_with(mark) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

fn number(hex: &str) -> usize {
    usize::from_str_radix(hex, 16).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_holds_is_found() {
        let mark = format!("mark {} of this test", std::process::id()).into_bytes();
        assert_eq!(search(std::process::id(), &[mark]).unwrap().len(), 1);
    }
}
