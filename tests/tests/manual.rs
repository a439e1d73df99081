//! Man pages and shell completions: made of the command line's own definitions, good for those who read them, and nothing is missing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::daemon;

use crate::deploy::judged;

/// A program and the folder of its pages, which is gone when this is.
struct Pages {
    program: PathBuf,
    name: &'static str,
    folder: PathBuf,
}

impl Drop for Pages {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Pages {
    fn of(program: &Path, name: &'static str, test: &str) -> Pages {
        let folder = std::env::temp_dir().join(format!("e2e-man-{name}-{test}-{}", std::process::id()));
        let pages = Pages { program: program.to_owned(), name, folder };
        pages.says(&["man", "--output", pages.folder.to_str().unwrap()]);
        pages
    }

    fn both(test: &str) -> [Pages; 2] {
        [Pages::of(daemon::binary(), "relay", test), Pages::of(&daemon::build("loadgen"), "loadgen", test)]
    }

    fn says(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.program).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        said
    }

    fn file(&self, command: Option<&str>) -> PathBuf {
        self.folder.join(command.map_or_else(|| format!("{}.1", self.name), |it| format!("{}-{it}.1", self.name)))
    }

    /// A page as it is read, for searching: without fonts and escapes.
    fn text(&self, command: Option<&str>) -> String {
        let file = self.file(command);
        let roff = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        ["\\fB", "\\fI", "\\fR", "\\&"].iter().fold(roff, |text, escape| text.replace(escape, "")).replace("\\-", "-")
    }

    fn all(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = std::fs::read_dir(&self.folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    }

    /// What `--help` lists.
    fn commands(&self) -> Vec<String> {
        let help = self.says(&["--help"]);
        let (_, list) = help.split_once("Commands:\n").unwrap();
        let names = list.lines().take_while(|line| line.starts_with("  "));
        let names = names.filter(|line| !line.starts_with("   ")).map(|line| line.split_whitespace().next().unwrap());
        names.filter(|name| *name != "help").map(str::to_owned).collect()
    }
}

/// Words that begin as long options do.
fn options(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '-' || c == '/';
    let words = text.split(|c| !is_name(c));
    words.filter(|word| word.len() > 2 && word.starts_with("--")).collect()
}

#[test]
fn every_command_and_option_of_the_help_is_in_its_page() {
    for pages in Pages::both("complete") {
        let commands = pages.commands();
        assert!(commands.contains(&"man".to_owned()) && commands.contains(&"completions".to_owned()), "{commands:?}");
        assert_eq!(pages.all().len(), commands.len() + 1, "a page each, and one for the program");
        for command in commands.iter().map(|it| Some(it.as_str())).chain([None]) {
            let help = pages.says(&command.into_iter().chain(["--help"]).collect::<Vec<_>>());
            let page = pages.text(command);
            let missing: Vec<_> = options(&help).difference(&options(&page)).copied().collect();
            assert!(missing.is_empty(), "{command:?} lacks {missing:?}:\n{page}");
            let examples = help.contains("Example:") || help.contains("Examples:");
            assert_eq!(examples, page.contains(".SH EXAMPLES"), "{command:?}:\n{page}");
        }
        let program = pages.text(None);
        for command in &commands {
            assert!(program.contains(&format!("{}-{command}(1)", pages.name)), "{command} is not named");
        }
        assert!(program.contains(".SH \"EXIT STATUS\""), "{program}");
        assert_eq!(
            pages.says(&["man", &commands[0]]).as_bytes(),
            std::fs::read(pages.file(Some(&commands[0]))).unwrap()
        );
    }
}

#[test]
fn readers_of_man_pages_have_nothing_to_say() {
    for pages in Pages::both("read") {
        for page in pages.all() {
            let mut man = Command::new("man");
            man.args(["--warnings", "--local-file", "--encoding=UTF-8"]).arg(&page).env("LC_ALL", "C.UTF-8");
            if let Some(shown) = judged("man", "apt-get install man-db", man.env("MANWIDTH", "100")) {
                assert!(!shown.contains("warning:") && shown.contains("NAME"), "{}: {shown}", page.display());
            }
            let mut lint = Command::new("mandoc");
            judged("mandoc", "apt-get install mandoc", lint.args(["-T", "lint", "-W", "error"]).arg(&page));
        }
    }
}

#[test]
fn there_is_no_page_of_a_command_that_is_not() {
    let output = Command::new(daemon::binary()).args(["man", "nonsense"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("doctor"), "it says which there are");
}

/// What bash offers when somebody presses the tabulator key after these words.
fn offered(script: &Path, function: &str, words: &[&str]) -> BTreeSet<String> {
    let typed = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
    let ask = format!(
        "source '{}'; COMP_WORDS=({typed}); COMP_CWORD={}; {function} '{}' '{last}' '{before}' || true; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        words.len() - 1,
        words[0],
    );
    let said =
        judged("bash", "apt-get install bash", Command::new("bash").args(["--norc", "-c", &ask])).unwrap_or_default();
    said.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    let program = Pages::of(daemon::binary(), "relay", "bash");
    let script = program.folder.join("relay.bash");
    std::fs::write(&script, program.says(&["completions", "bash"])).unwrap();
    judged("bash", "apt-get install bash", Command::new("bash").arg("-n").arg(&script));
    assert_eq!(offered(&script, "_relay", &["relay", "doc"]), BTreeSet::from(["doctor".to_owned()]));
    assert_eq!(offered(&script, "_relay", &["relay", "doctor", "--bro"]), BTreeSet::from(["--browser".to_owned()]));
    let levels = offered(&script, "_relay", &["relay", "--log", "w"]);
    assert_eq!(levels, BTreeSet::from(["warn".to_owned()]));
    for command in program.commands() {
        assert!(offered(&script, "_relay", &["relay", ""]).contains(&command), "{command}");
    }
}

#[test]
fn the_other_shells_can_read_theirs() {
    let program = Pages::of(daemon::binary(), "relay", "shells");
    for (shell, check) in [("zsh", "-n"), ("fish", "--no-execute")] {
        let script = program.folder.join(shell);
        let text = program.says(&["completions", shell]);
        assert!(text.contains("doctor") && text.contains("hand-over"), "{text}");
        std::fs::write(&script, text).unwrap();
        judged(shell, &format!("apt-get install {shell}"), Command::new(shell).arg(check).arg(&script));
    }
}
