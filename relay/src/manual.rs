//! What a command line gives besides its help, from the same definitions: man pages and shell completions.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// Of a command that prints completions.
#[derive(Args, Debug)]
pub struct Completions {
    /// For which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Of a command that prints man pages.
#[derive(Args, Debug)]
pub struct Manual {
    /// The page of this command; without it, that of the program
    #[arg(value_name = "COMMAND", conflicts_with = "output")]
    command: Option<String>,

    /// All pages, as files in this folder, which is made if it is not there
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
}

impl Completions {
    /// Writes them for `program`.
    ///
    /// # Errors
    /// What writing to `out` says.
    pub fn write(&self, mut program: Command, out: &mut impl Write) -> io::Result<()> {
        let name = program.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, name, &mut script);
        out.write_all(&script)
    }
}

impl Manual {
    /// Writes the page that is asked for to `out`, or all of them to files.
    ///
    /// # Errors
    /// There is no such command, or what the files and `out` say.
    pub fn write(&self, program: Command, out: &mut impl Write) -> io::Result<()> {
        let pages = Page::all(program)?;
        if let Some(folder) = &self.output {
            return write_files(&pages, folder);
        }
        let wanted = match &self.command {
            None => pages.first(),
            Some(command) => pages.iter().find(|page| page.command.as_ref() == Some(command)),
        };
        match wanted {
            Some(page) => out.write_all(&page.text),
            None => {
                let names = pages.iter().filter_map(|page| page.command.as_deref()).collect::<Vec<_>>().join(", ");
                Err(io::Error::new(io::ErrorKind::NotFound, format!("no such command; there are {names}")))
            }
        }
    }
}

fn write_files(pages: &[Page], folder: &Path) -> io::Result<()> {
    let named = |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(|error| named(folder, error))?;
    for page in pages {
        let path = folder.join(&page.file);
        std::fs::write(&path, &page.text).map_err(|error| named(&path, error))?;
    }
    Ok(())
}

/// One page, of section 1.
struct Page {
    /// `None`: of the program itself.
    command: Option<String>,
    file: String,
    text: Vec<u8>,
}

impl Page {
    /// The program's first.
    fn all(program: Command) -> io::Result<Vec<Page>> {
        let mut program = program.disable_help_subcommand(true);
        // Gives the commands their full names and the options that are everybody's.
        program.build();
        let mut pages = vec![Page::of(program.clone(), None, &program)?];
        for command in program.get_subcommands().filter(|command| !command.is_hide_set()) {
            pages.push(Page::of(command.clone(), Some(command.get_name().to_owned()), &program)?);
        }
        Ok(pages)
    }

    fn of(command: Command, name: Option<String>, program: &Command) -> io::Result<Page> {
        let notes = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
        let has_options = command.get_arguments().any(|argument| !argument.is_hide_set());
        let has_commands = command.has_subcommands();
        let source = format!("{} {}", program.get_name(), program.get_version().unwrap_or_default());
        // Without a date what follows would be taken for one.
        let man = Man::new(command).date(" ").source(source);
        let mut text = Vec::new();
        man.render_title(&mut text)?;
        man.render_name_section(&mut text)?;
        man.render_synopsis_section(&mut text)?;
        man.render_description_section(&mut text)?;
        if has_options {
            man.render_options_section(&mut text)?;
        }
        if has_commands {
            man.render_subcommands_section(&mut text)?;
        }
        let mut roff = Roff::new();
        sections(&notes.unwrap_or_default(), &mut roff);
        if name.is_some() {
            roff.control("SH", ["SEE ALSO"]);
            roff.text([bold(program.get_name()), roman("(1)")]);
        }
        roff.to_writer(&mut text)?;
        Ok(Page { command: name, file: man.get_filename(), text })
    }
}

/// What begins a section of the page, below a help.
const TITLES: [(&str, &str); 4] = [
    ("Examples:", "EXAMPLES"),
    ("Example:", "EXAMPLES"),
    ("Exit status:", "EXIT STATUS"),
    ("Exit codes:", "EXIT STATUS"),
];

/// What stands below a help: examples, which keep their lines, and paragraphs, which do not.
fn sections(notes: &str, roff: &mut Roff) {
    let mut last = "";
    for paragraph in notes.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        let titled = |(begins, title)| Some((title, paragraph.strip_prefix(begins)?));
        let (title, text) = TITLES.into_iter().find_map(titled).unwrap_or(("NOTES", paragraph));
        if title == last {
            roff.control("PP", []);
        } else {
            roff.control("SH", [title]);
        }
        last = title;
        body(text.trim_start_matches('\n'), roff);
    }
}

/// Lines that are set in are meant as they stand.
fn body(text: &str, roff: &mut Roff) {
    let literal = text.lines().any(|line| line.starts_with("  "));
    if literal {
        roff.control("nf", []);
    }
    for line in text.lines() {
        roff.text([roman(if literal { line } else { line.trim_start() })]);
    }
    if literal {
        roff.control("fi", []);
    }
}
