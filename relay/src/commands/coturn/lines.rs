//! `turnserver.conf` as it is written: one option a line, `name`, `name=value` or `name value`.

use super::options::{self, Answer};

/// One option, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) value: String,
}

/// The longest line looked at, in bytes; coturn reads no more of one.
const LONGEST: usize = 8 * 1024;

pub(super) fn read(text: &str) -> Vec<Line> {
    text.lines().enumerate().filter_map(|(index, line)| one(index + 1, line)).collect()
}

fn one(number: usize, line: &str) -> Option<Line> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') || line.len() > LONGEST {
        return None;
    }
    let end = line.find(|letter: char| letter == '=' || letter.is_whitespace()).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let value = rest.trim_start_matches(|letter: char| letter == '=' || letter.is_whitespace()).trim();
    let value = value.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(value);
    Some(Line { number, name: name.trim_start_matches('-').to_owned(), value: value.to_owned() })
}

impl Line {
    /// As coturn reads a flag: on unless the value says no.
    pub(super) fn is_on(&self) -> bool {
        let no = ["0", "no", "false", "off", "n", "f"];
        !no.iter().any(|word| self.value.eq_ignore_ascii_case(word))
    }

    /// For a comment: with the value, unless it may be a secret.
    pub(super) fn shown(&self) -> String {
        let Line { number, name, value } = self;
        let name: String = name.chars().take(60).filter(|letter| letter.is_ascii_graphic()).collect();
        let telling = ["password", "pwd", "secret", "userdb", "statsdb"].iter().any(|word| name.contains(word));
        let secret = telling || !matches!(options::answer(&name), Some(Answer::Mapped | Answer::Dropped(_)));
        match value.is_empty() || secret || value.contains(|letter: char| letter.is_control()) {
            true => format!("line {number}: {name}"),
            false => format!("line {number}: {name}={value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_coturn_reads_them() {
        let text = "# a comment\n\nlistening-port=443\nverbose\nrealm  \"voice.example\"\n  --no-cli = 0\nuser=a:b=c\n";
        let read: Vec<_> = read(text).into_iter().map(|line| (line.number, line.name, line.value)).collect();
        let line = |number, name: &str, value: &str| (number, name.to_owned(), value.to_owned());
        assert_eq!(
            read,
            [
                line(3, "listening-port", "443"),
                line(4, "verbose", ""),
                line(5, "realm", "voice.example"),
                line(6, "no-cli", "0"),
                line(7, "user", "a:b=c"),
            ]
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        for line in read(
            "user=alice:her password\nstatic-auth-secret=north\npsql-userdb=\"password=x\"\nno-such=s3cret\ncli-password=x",
        ) {
            assert!(!line.shown().contains('='), "{}", line.shown());
        }
        assert_eq!(read("min-port=50000")[0].shown(), "line 1: min-port=50000");
    }
}
