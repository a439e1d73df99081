//! What `relay explain` says of a key: its row in `keys`, and its line in `configs/relay.toml`.

use std::fmt::Write as _;

use super::keys::{self, Key, Reload, SECTIONS};
use super::problems::suggestion;

/// Every key with its default or an example and a comment.
const REFERENCE: &str = include_str!("../../../configs/relay.toml");

/// A key's line in the reference.
struct Line {
    /// `None` for a key that has no default.
    default: Option<&'static str>,
    what: &'static str,
}

/// What is known of `wanted`: a key as `section.key`, a key alone if only one section has it, or a section for the list of its keys;
/// nothing for the list of all.
///
/// # Errors
/// There is no such key; says which one may have been meant.
pub fn explain(wanted: Option<&str>) -> Result<String, String> {
    let Some(wanted) = wanted else { return Ok(SECTIONS.iter().map(|(section, keys)| list(section, keys)).collect()) };
    let bare = wanted.trim_start_matches('[').trim_end_matches([']', '.']);
    if let Some((section, keys)) = SECTIONS.iter().find(|(section, _)| *section == bare) {
        return Ok(list(section, keys));
    }
    let named: Vec<(&str, &Key)> = match bare.split_once('.') {
        Some((section, name)) => keys::find(section, name).map(|key| (section, key)).into_iter().collect(),
        None => SECTIONS.iter().filter_map(|(section, _)| Some((*section, keys::find(section, bare)?))).collect(),
    };
    if named.is_empty() {
        return Err(unknown(bare));
    }
    Ok(named.iter().map(|(section, key)| one(section, key)).collect::<Vec<_>>().join("\n"))
}

fn unknown(wanted: &str) -> String {
    let full: Vec<String> = all().map(|(section, key)| format!("{section}.{}", key.name)).collect();
    let written = wanted.escape_debug();
    let hint = match wanted.contains('.') {
        true => suggestion(wanted, full.iter().map(String::as_str)),
        false => suggestion(wanted, all().map(|(_, key)| key.name).chain(SECTIONS.iter().map(|(section, _)| *section))),
    };
    format!("there is no key \"{written}\"{hint}; `relay explain` lists all")
}

fn all() -> impl Iterator<Item = (&'static str, &'static Key)> {
    SECTIONS.iter().flat_map(|(section, keys)| keys.iter().map(move |key| (*section, key)))
}

fn list(section: &str, keys: &[Key]) -> String {
    let mut text = format!("[{section}]\n");
    for key in keys {
        let what = line(section, key.name).map_or("", |line| line.what);
        let short = what.split(';').next().unwrap_or(what);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:<28} {short}", key.name);
    }
    text
}

fn one(section: &str, key: &Key) -> String {
    let line = line(section, key.name);
    let mut text = format!("{section}.{}\n  {}\n\n", key.name, line.as_ref().map_or("", |line| line.what));
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<8} {value}");
    };
    row("type", &key.kind.to_string());
    if let Some(range) = key.kind.range() {
        row("range", &range);
    }
    row("default", line.and_then(|line| line.default).unwrap_or("none"));
    match key.reload {
        Reload::Live(whom) => row("reload", &format!("changes it: {whom}")),
        Reload::Restart(why) => row("reload", &format!("does not change it, a restart does: {why}")),
    }
    row("example", &format!("[{section}]"));
    row("", &format!("{} = {}", key.name, key.example));
    text
}

fn line(section: &str, name: &str) -> Option<Line> {
    let (_, rest) = REFERENCE.split_once(&format!("\n[{section}]\n"))?;
    let lines = rest.lines().take_while(|line| !line.starts_with('['));
    lines
        .filter_map(|line| {
            let (written, rest) = line.split_once(" = ")?;
            let (value, what) = rest.split_once(" # ")?;
            let default = Some(value.trim()).filter(|_| !written.starts_with('#'));
            (written.trim_start_matches("# ") == name).then_some(Line { default, what: what.trim() })
        })
        .next()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::config::keys::Kind;
    use crate::config::{Settings, parse};

    fn full() -> impl Iterator<Item = (String, &'static Key)> {
        all().map(|(section, key)| (format!("{section}.{}", key.name), key))
    }

    #[test]
    fn each_key_is_explained_with_all_there_is_to_know() {
        for (name, key) in full() {
            let text = explain(Some(&name)).unwrap();
            let what = text.lines().nth(1).unwrap().trim();
            assert!(text.starts_with(&name) && what.len() > 10, "{text}");
            for row in ["type", "default", "reload", "example"] {
                assert!(text.contains(&format!("\n  {row:<8} ")), "{row} is missing: {text}");
            }
            assert!(text.ends_with(&format!("{} = {}\n", key.name, key.example)), "{text}");
        }
    }

    /// Numbers and flags: the type and range said are those the parser goes by.
    #[test]
    fn what_is_said_of_types_and_ranges_is_what_the_parser_does() {
        for (name, key) in full() {
            let complaint = |value: String| {
                parse(&format!("{name} = {value}"), Path::new("")).err().map(|it| it.to_string()).unwrap_or_default()
            };
            match key.kind {
                Kind::Number { most } => {
                    assert!(complaint((most + 1).to_string()).contains(&format!("0 to {most}")), "{name}");
                    assert!(!complaint(most.to_string()).contains("0 to "), "{name}");
                }
                Kind::Flag => assert!(complaint("1".to_owned()).contains("true or false"), "{name}"),
                Kind::OneOf(names) => {
                    let said = complaint("'no such'".to_owned());
                    assert!(names.iter().all(|known| said.contains(&format!("\"{known}\""))), "{name}: {said}");
                }
                _ => assert!(complaint("1.5".to_owned()).contains("not a float"), "{name}"),
            }
        }
    }

    #[test]
    fn the_examples_mean_something_to_the_parser() {
        let folder = std::env::temp_dir().join(format!("relay-explain-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for file in ["bob.secret", "rest.secret"] {
            std::fs::write(folder.join(file), "a secret out of a file\n").unwrap();
        }
        std::fs::write(folder.join("users.secret"), "carol:a secret out of a file\n").unwrap();
        for (name, key) in full() {
            let text = format!("{name} = {}", key.example);
            let problems = parse(&text, &folder).err().map(|it| it.to_string()).unwrap_or_default();
            // What else would be needed beside it is no fault of the example; systemd's credentials are not here.
            let about_it = |line: &&str| {
                let needs_more = ["needs", "lacks", "of no use", "cannot go with", "$CREDENTIALS_DIRECTORY"];
                !needs_more.iter().any(|words| line.contains(words))
            };
            assert_eq!(problems.lines().find(about_it), None, "{text}");
        }
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn an_unknown_key_gets_a_suggestion() {
        let hint = |wanted| explain(Some(wanted)).unwrap_err();
        assert!(hint("relay.realmm").contains("did you mean \"relay.realm\"?"), "{}", hint("relay.realmm"));
        assert!(hint("rest_secret").contains("did you mean \"rest_secrets\"?"), "{}", hint("rest_secret"));
        assert!(hint("qqqq").contains("`relay explain` lists all"));
    }

    #[test]
    fn alone_it_lists_every_key_and_with_a_section_those_of_it() {
        let everything = explain(None).unwrap();
        assert!(all().all(|(_, key)| everything.contains(&format!("\n  {} ", key.name))), "{everything}");
        let one = explain(Some("drain")).unwrap();
        assert_eq!((one.lines().count(), explain(Some("[drain]")).unwrap()), (4, one));
        // A name that two sections have is explained for both.
        assert_eq!(explain(Some("secret")).unwrap().matches("  reload ").count(), 2);
    }

    #[test]
    fn the_defaults_shown_are_the_defaults() {
        // `configs/relay.toml` is compared with them in `config::tests`; this one reads it the way `line` does.
        let text: String = all()
            .filter_map(|(section, key)| {
                Some(format!("{section}.{} = {}\n", key.name, line(section, key.name)?.default?))
            })
            .collect();
        assert_eq!(parse(&text, Path::new("")).unwrap(), Settings::default());
    }
}
