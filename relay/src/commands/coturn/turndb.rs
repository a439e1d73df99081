//! What can be taken out of coturn's database: the text that `sqlite3 turndb .dump` writes, or plain lines `name:password`.

use std::path::Path;
use std::process::Command;

/// What was found.
#[derive(Default)]
pub(super) struct Exported {
    pub(super) users: Vec<(String, String)>,
    pub(super) secrets: Vec<String>,
    pub(super) allowed: Vec<String>,
    pub(super) denied: Vec<String>,
    /// Users of whom only the hash of the password is there.
    pub(super) hashed: usize,
}

const SQLITE: &[u8] = b"SQLite format 3\0";

/// Reads a database, its dump, or a list of users.
///
/// # Errors
/// What to do instead.
pub(super) fn read(file: &Path) -> Result<Exported, String> {
    let name = file.display();
    let bytes = std::fs::read(file).map_err(|error| format!("{name} cannot be read: {error}"))?;
    let bytes = if bytes.starts_with(SQLITE) { dump(file)? } else { bytes };
    let text = String::from_utf8(bytes).map_err(|_| format!("{name} is neither a dump nor a list of name:password"))?;
    Ok(if text.contains("INSERT INTO") { of_dump(&text) } else { of_list(&text) })
}

fn dump(file: &Path) -> Result<Vec<u8>, String> {
    let name = file.display();
    let by_hand =
        format!("run `sqlite3 {name} .dump > turndb.sql` where sqlite3 is installed, and give --users-db turndb.sql");
    let output = Command::new("sqlite3").arg("-readonly").arg(file).arg(".dump").output();
    match output {
        Ok(output) if output.status.success() => Ok(output.stdout),
        Ok(_) => Err(format!("sqlite3 could not read {name}; {by_hand}")),
        Err(_) => Err(format!("{name} is an SQLite database and there is no sqlite3 here; {by_hand}")),
    }
}

fn of_list(text: &str) -> Exported {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let users =
        lines.filter_map(|line| line.split_once(':')).map(|(name, password)| (name.to_owned(), password.to_owned()));
    Exported { users: users.collect(), ..Exported::default() }
}

fn of_dump(text: &str) -> Exported {
    let mut found = Exported::default();
    for line in text.lines() {
        let Some((table, values)) = insert(line) else { continue };
        let last = values.last().cloned();
        match table {
            "turn_secret" => found.secrets.extend(last),
            "turnusers_lt" => found.hashed += 1,
            "allowed_peer_ip" => found.allowed.extend(last),
            "denied_peer_ip" => found.denied.extend(last),
            _ => {}
        }
    }
    found
}

/// Table and values of `INSERT INTO turn_secret VALUES('realm','value');`.
fn insert(line: &str) -> Option<(&str, Vec<String>)> {
    let rest = line.strip_prefix("INSERT INTO ")?;
    let (table, rest) = rest.split_once(" VALUES(")?;
    let inner = rest.strip_suffix(");")?;
    let (mut values, mut value, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = inner.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' if quoted && letters.peek() == Some(&'\'') => value.extend(letters.next()),
            '\'' => quoted = !quoted,
            ',' if !quoted => values.push(std::mem::take(&mut value)),
            other => value.push(other),
        }
    }
    values.push(value);
    Some((table.trim_matches('"').split('(').next()?, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_lists_are_found_in_a_dump_and_hashes_are_counted() {
        let found = of_dump(
            "PRAGMA foreign_keys=OFF;\nINSERT INTO turnusers_lt VALUES('north.example','alice','0xbc807ee29df3c9ffa736523fb2c4e8ee');\n\
             INSERT INTO turn_secret VALUES('north.example','it''s, a secret');\nINSERT INTO denied_peer_ip VALUES('','10.0.0.0-10.0.0.9');\n\
             INSERT INTO \"allowed_peer_ip\" VALUES('','10.0.0.1');\nCOMMIT;\n",
        );
        assert_eq!((found.hashed, found.secrets, found.users.len()), (1, vec!["it's, a secret".to_owned()], 0));
        assert_eq!((found.denied, found.allowed), (vec!["10.0.0.0-10.0.0.9".to_owned()], vec!["10.0.0.1".to_owned()]));
    }

    #[test]
    fn a_list_is_a_list() {
        assert_eq!(
            of_list("# users\nalice:her:password\nnothing\n").users,
            [("alice".to_owned(), "her:password".to_owned())]
        );
    }
}
