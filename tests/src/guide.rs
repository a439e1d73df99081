//! A guide of an operator, read as a program: which of its blocks are run, written, expected, and which are not and why.
//!
//! - ```` ```sh ```` is run, exactly as written.
//! - ```` ```toml /etc/relay/relay.toml ```` (any language, then a file's name) is written to that file.
//! - ```` ```text ```` is what the block before it prints. `…` stands for any words of a line, alone on a line for any lines.
//! - `<!-- in the test (reason):`, commands, `-->` before a `sh` block: those are run in its place.
//! - `<!-- not run (reason) -->` before any other block: it is only shown.
//!
//! Any other block has no decision, and that is a mistake.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What becomes of a block.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// As written.
    Run(String),
    /// What is run in place of it, and why.
    Instead { written: String, run: String, reason: String },
    /// A file and what goes into it.
    Write { file: String, text: String },
    /// What the commands before it print.
    Expect(String),
    /// Nothing, and why.
    Shown { reason: String },
}

/// A guide's blocks in order, each with the number of its line.
pub struct Guide {
    pub path: PathBuf,
    pub text: String,
    pub steps: Vec<(usize, Step)>,
}

/// What a comment says of the block that follows.
enum Remark {
    Instead { run: String, reason: String },
    Shown(String),
}

impl Guide {
    /// Panics with the line of a block for which nothing is decided.
    pub fn read(path: &Path) -> Guide {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let steps = steps(&text).unwrap_or_else(|why| panic!("{}:{why}", path.display()));
        Guide { path: path.to_owned(), text, steps }
    }

    /// Without folder and ending.
    pub fn name(&self) -> &str {
        self.path.file_stem().and_then(|name| name.to_str()).unwrap()
    }

    /// All commands, those that are replaced included.
    pub fn commands(&self) -> String {
        let written = self.steps.iter().filter_map(|(_, step)| match step {
            Step::Run(commands) | Step::Instead { written: commands, .. } => Some(commands.as_str()),
            _ => None,
        });
        written.collect()
    }

    /// How many blocks were run, written and compared, and each that was not with the reason.
    pub fn account(&self) -> String {
        let count = |wanted: fn(&Step) -> bool| self.steps.iter().filter(|(_, step)| wanted(step)).count();
        let run = count(|step| matches!(step, Step::Run(_)));
        let replaced = count(|step| matches!(step, Step::Instead { .. }));
        let written = count(|step| matches!(step, Step::Write { .. }));
        let compared = count(|step| matches!(step, Step::Expect(_)));
        let mut text = format!("{}: {run} blocks run as written, {replaced} replaced, ", self.name());
        writeln!(text, "{written} files written, {compared} outputs compared").unwrap();
        for (line, step) in &self.steps {
            match step {
                Step::Instead { reason, .. } => writeln!(text, "  line {line} replaced: {reason}").unwrap(),
                Step::Shown { reason } => writeln!(text, "  line {line} only shown: {reason}").unwrap(),
                _ => {}
            }
        }
        text
    }
}

fn steps(text: &str) -> Result<Vec<(usize, Step)>, String> {
    let mut steps = Vec::new();
    let mut remark = None;
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if let Some(begun) = line.strip_prefix("<!-- ") {
            let mut comment = begun.to_owned();
            while !comment.contains("-->") {
                let (_, more) = lines.next().ok_or(format!("{}: the comment does not end", at + 1))?;
                comment = comment + "\n" + more;
            }
            remark = read_remark(comment.split("-->").next().unwrap_or_default());
        } else if let Some(info) = line.strip_prefix("```") {
            let mut body = String::new();
            loop {
                match lines.next() {
                    Some((_, "```")) => break,
                    Some((_, line)) => body = body + line + "\n",
                    None => return Err(format!("{}: the block does not end", at + 1)),
                }
            }
            let step = decide(info, body, remark.take()).map_err(|why| format!("{}: {why}", at + 1))?;
            if matches!(step, Step::Expect(_))
                && !matches!(steps.last(), Some((_, Step::Run(_) | Step::Instead { .. })))
            {
                return Err(format!("{}: nothing was run whose output this could be", at + 1));
            }
            steps.push((at + 1, step));
        } else if !line.trim().is_empty() && remark.take().is_some() {
            return Err(format!("{}: a remark for a test, and no block after it", at + 1));
        }
    }
    Ok(steps)
}

fn read_remark(comment: &str) -> Option<Remark> {
    if let Some(rest) = comment.strip_prefix("in the test (") {
        let (reason, run) = rest.split_once("):\n")?;
        return Some(Remark::Instead { run: run.to_owned(), reason: reason.to_owned() });
    }
    let reason = comment.strip_prefix("not run (")?.trim_end().strip_suffix(')')?;
    Some(Remark::Shown(reason.to_owned()))
}

fn decide(info: &str, body: String, remark: Option<Remark>) -> Result<Step, String> {
    let (language, file) = info.split_once(' ').unwrap_or((info, ""));
    match (remark, language, file) {
        (Some(Remark::Instead { run, reason }), "sh", "") => Ok(Step::Instead { written: body, run, reason }),
        (Some(Remark::Instead { .. }), ..) => Err("only commands can be replaced".to_owned()),
        (Some(Remark::Shown(_)), "sh", _) => Err("commands are run, or others in their place".to_owned()),
        (Some(Remark::Shown(reason)), ..) => Ok(Step::Shown { reason }),
        (None, "sh", "") => Ok(Step::Run(body)),
        (None, "text", "") => Ok(Step::Expect(body)),
        (None, _, "") => Err("no decision about this block: run, written, expected or only shown?".to_owned()),
        (None, _, file) => Ok(Step::Write { file: file.to_owned(), text: body }),
    }
}

/// Whether this was printed; see the module's text for `…`.
pub fn printed(expected: &str, got: &str) -> bool {
    let lines = |text: &str| text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    all_match(&lines(expected), &lines(got))
}

fn all_match(expected: &[String], got: &[String]) -> bool {
    match (expected.split_first(), got.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((any, rest)), _) if any == "…" => (0..=got.len()).any(|skipped| all_match(rest, &got[skipped..])),
        (Some(_), None) => false,
        (Some((line, rest)), Some((printed, more))) => line_matches(line, printed) && all_match(rest, more),
    }
}

fn line_matches(expected: &str, printed: &str) -> bool {
    let Some((before, after)) = expected.split_once('…') else { return expected == printed };
    let Some(rest) = printed.strip_prefix(before) else { return false };
    rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| line_matches(after, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_block_is_told_apart() {
        let guide = "# A\n\n```sh\nls\n```\n\n```text\n…\n```\n\n```toml a.toml\nb = 1\n```\n\n<!-- in the test (no d):\ne --f\n-->\n```sh\nd\n```\n\
                     <!-- not run (a picture) -->\n```text\n->\n```\n";
        let steps: Vec<Step> = steps(guide).unwrap().into_iter().map(|(_, step)| step).collect();
        let instead = Step::Instead { written: "d\n".into(), run: "e --f\n".into(), reason: "no d".into() };
        let write = Step::Write { file: "a.toml".into(), text: "b = 1\n".into() };
        let shown = Step::Shown { reason: "a picture".into() };
        assert_eq!(steps, [Step::Run("ls\n".into()), Step::Expect("…\n".into()), write, instead, shown]);
    }

    #[test]
    fn a_block_without_a_decision_is_a_mistake() {
        for (guide, at) in [
            ("```toml\n```", "1: no decision"),
            ("\n```text\n```", "2: nothing was run"),
            ("<!-- not run (lazy) -->\n```sh\n```", "2: commands are run"),
            ("<!-- in the test (x):\ny\n-->\n```toml z\n```", "4: only commands"),
            ("<!-- in the test (x):\ny\n-->\nprose", "4: a remark"),
            ("```sh\nls", "1: the block does not end"),
        ] {
            assert!(steps(guide).unwrap_err().starts_with(at), "{guide}: {:?}", steps(guide));
        }
    }

    #[test]
    fn what_is_printed_may_differ_only_where_the_guide_says_so() {
        assert!(printed("a\nb … d\n", "a\nb c d"));
        assert!(printed("…\nb\n…", "b") && printed("…\nb\n…", "a\na\nb\nc"));
        assert!(!printed("a", "a\nb") && !printed("a\nb", "a") && !printed("a… c", "ab d"));
    }
}
