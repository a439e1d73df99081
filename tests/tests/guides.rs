//! The guides of `relay/docs` and `loadgen/docs`, each followed word by word: every command in them is run.

use std::path::{Path, PathBuf};

use e2e::guide::{Guide, Step};
use e2e::guide_run::{follow, possible};

/// What these folders hold besides guides: manuals, records and proofs, whose statements have tests of their own.
const NOT_GUIDES: [&str; 6] = ["README", "RESULTS", "privacy", "rfc-musts", "rfc8656-ip", "runbooks"];
const PROGRAMS: [&str; 2] = ["relay", "loadgen"];
/// Words that begin a command where a guide mentions one in its text.
const COMMANDS: [&str; 5] = ["relay ", "loadgen ", "systemctl ", "curl ", "promtool "];

fn docs(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(of).join("docs")
}

fn guides() -> Vec<Guide> {
    let files = ["relay", "loadgen"].map(docs).into_iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut paths: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "md"));
    paths.retain(|path| !NOT_GUIDES.contains(&path.file_stem().unwrap().to_str().unwrap()));
    paths.sort();
    paths.iter().map(|path| Guide::read(path)).collect()
}

/// Follows one and writes down what was done, for `tests/run.sh` to show. Its commands have a person's patience, not that of a machine that
/// stands still for seconds: what went wrong is tried once more, and said.
fn followed_in_namespaces(of: &str, name: &str, programs: &[&str]) -> Option<f64> {
    let guide = Guide::read(&docs(of).join(name).with_extension("md"));
    let file = format!("guide-{name}.txt");
    if let Err(why) = possible() {
        e2e::report(&file, &format!("not followed: {name}.md, which needs root: {why}\n"));
        return None;
    }
    let _turn = crate::people::one_test_at_a_time();
    let mut said = String::new();
    let followed = follow(&guide, programs).or_else(|why| {
        eprintln!("tried once more, because of {why}");
        said = format!("  the first time: {}\n", why.lines().next().unwrap_or_default());
        follow(&guide, programs)
    });
    let took = followed.unwrap_or_else(|why| panic!("{why}")).took.as_secs_f64();
    e2e::report(&file, &format!("{}  {took:.1} s\n{said}", guide.account()));
    Some(took)
}

#[test]
fn the_ten_minute_guide_ends_in_a_call_in_namespaces() {
    if let Some(took) = followed_in_namespaces("relay", "ten-minutes", &[]) {
        let text = format!("relay/docs/ten-minutes.md: all commands, to the call in Chromium, took {took:.0} s\n");
        std::fs::write(e2e::daemon::target_directory().join("ten-minutes.txt"), text).unwrap();
    }
}

#[test]
fn sizing_is_measured_in_namespaces() {
    followed_in_namespaces("relay", "sizing", &PROGRAMS);
}

#[test]
fn the_move_from_coturn_works_in_namespaces() {
    followed_in_namespaces("relay", "from-coturn", &PROGRAMS);
}

#[test]
fn two_callers_of_an_app_talk_in_namespaces() {
    followed_in_namespaces("relay", "for-app-developers", &PROGRAMS);
}

#[test]
fn upgrading_and_going_back_lose_no_call_in_namespaces() {
    followed_in_namespaces("relay", "rollback", &PROGRAMS);
}

#[test]
fn any_turn_server_is_measured_in_namespaces() {
    followed_in_namespaces("loadgen", "any-turn-server", &PROGRAMS);
}

#[test]
fn the_numbers_are_made_in_namespaces() {
    followed_in_namespaces("loadgen", "what-the-numbers-mean", &PROGRAMS);
}

#[test]
fn a_regression_is_stopped_in_namespaces() {
    followed_in_namespaces("loadgen", "stop-a-regression", &PROGRAMS);
}

#[test]
fn every_guide_is_followed_by_a_test_here() {
    let tests = include_str!("guides.rs");
    for guide in guides() {
        assert!(tests.contains(&format!("\"{}\"", guide.name())), "no test follows {}", guide.path.display());
        assert!(guide.steps.iter().any(|(_, step)| matches!(step, Step::Run(_))), "{} runs nothing", guide.name());
    }
}

/// A command in the text is one of those that are run, and a file that is written is named where a reader sees it.
#[test]
fn what_a_guide_mentions_it_also_does() {
    for guide in guides() {
        let commands = guide.commands();
        for mentioned in code_in_text(&guide.text).filter(|code| COMMANDS.iter().any(|word| code.starts_with(word))) {
            // Names in capitals stand for the reader's own; what follows them differs.
            let plain = mentioned.split(|c: char| c.is_ascii_uppercase()).next().unwrap().trim_end();
            assert!(commands.contains(plain), "{} mentions `{mentioned}` and never runs it", guide.name());
        }
        for (line, step) in &guide.steps {
            let Step::Write { file, .. } = step else { continue };
            let before = guide.text.lines().take(line - 1).collect::<Vec<_>>().join("\n");
            assert!(before.contains(&format!("`{file}`")), "{}:{line}: {file} is not named before", guide.name());
        }
    }
}

/// Each number of the sizing table stands in the record it is taken from.
#[test]
fn the_numbers_of_sizing_are_those_of_their_sources() {
    let guide = Guide::read(&docs("relay").join("sizing.md"));
    let sourced = guide.text.lines().filter_map(|line| line.split_once("]("));
    let sources: Vec<(&str, String)> = sourced
        .filter_map(|(_, rest)| {
            let (file, rest) = rest.split_once("): `")?;
            Some((file, rest.split_once('`')?.0.replace("\\|", "|")))
        })
        .collect();
    assert!(sources.len() >= 10, "{sources:?}");
    for (file, words) in sources {
        let text = std::fs::read_to_string(docs("relay").join(file)).unwrap();
        assert!(text.contains(&words), "{file} does not say `{words}`");
    }
}

/// Whatever a result holds is explained: every key of it, and of its parts whose keys the schema fixes.
#[test]
fn every_number_of_a_result_is_explained() {
    let schema = std::fs::read_to_string(docs("loadgen").join("loadgen.run.1.schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let guide = Guide::read(&docs("loadgen").join("what-the-numbers-mean.md")).text;
    let keys = |of: &serde_json::Value| of["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut wanted = keys(&schema);
    for part in ["load", "outcomes", "media", "host"] {
        wanted.extend(keys(&schema["properties"][part]));
    }
    assert!(wanted.len() > 90);
    let missing: Vec<&String> = wanted.iter().filter(|key| !guide.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "not explained: {missing:?}");
    for timed in loadgen::book::Timed::ALL {
        assert!(guide.contains(timed.name()), "{} is not explained", timed.name());
        assert!(guide.contains(&format!("`{}`", timed.key())), "{} is not explained", timed.key());
    }
}

/// `code` between single backticks, outside of blocks and comments.
fn code_in_text(text: &str) -> impl Iterator<Item = &str> {
    let outside =
        text.split("```").step_by(2).flat_map(|part| part.split("<!--").map(|it| it.rsplit("-->").next().unwrap()));
    outside.flat_map(|part| part.split('`').skip(1).step_by(2))
}

#[test]
fn every_link_of_the_guides_leads_somewhere() {
    for guide in guides() {
        for link in guide.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if file.contains("://") {
                continue;
            }
            let to = if file.is_empty() { guide.path.clone() } else { guide.path.parent().unwrap().join(file) };
            assert!(to.exists(), "{}: {link} leads nowhere", guide.name());
            if !anchor.is_empty() {
                let headings = std::fs::read_to_string(&to).unwrap();
                let found = headings.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
                assert!(found, "{}: {link}: no such heading", guide.name());
            }
        }
    }
}

/// As GitHub makes anchors of headings.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().replace(' ', "-")
}
