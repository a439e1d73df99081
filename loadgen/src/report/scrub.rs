//! What a report shows to anyone must not say where anything is or who made it: words that came from servers and files are
//! cleaned of addresses, URLs and paths first.

use std::net::{IpAddr, SocketAddr};

/// `text` without addresses.
pub(super) fn scrub(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            clean.push(' ');
        }
        let bare = word.trim_matches(|c: char| !(c.is_alphanumeric() || matches!(c, '/' | '[' | ']' | ':' | '~')));
        if says_where(bare) {
            clean.push_str(&word.replacen(bare, "(address left out)", 1));
        } else {
            clean.push_str(word);
        }
    }
    clean.chars().filter(|c| !c.is_control()).collect()
}

fn says_where(word: &str) -> bool {
    let word = word.trim_end_matches([':', '.', ',', ';']);
    let host = word.rsplit_once(':').map_or(word, |(host, _)| host);
    let is_ip = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let is_path = word.len() > 1 && (word.starts_with('/') || word.starts_with("~/"));
    let is_url = word.contains("://") || ["turn:", "turns:", "stun:"].iter().any(|scheme| word.starts_with(scheme));
    let is_file_of = word.starts_with("trace:") && word.contains('/');
    word.parse::<SocketAddr>().is_ok()
        || is_ip(word)
        || (host.contains('.') && is_ip(host))
        || is_path
        || is_url
        || is_file_of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_urls_and_paths_are_left_out_and_the_rest_is_not() {
        let left_out = [
            "192.0.2.7",
            "192.0.2.7:3478",
            "[2001:db8::1]:80",
            "2001:db8::1",
            "ws://host:8080/v1/ws",
            "turn:host:3478",
            "/srv/ana/key.pem",
            "~/x.toml",
            "(192.0.2.7:3478)",
            "192.0.2.7:3478:",
            "trace:/srv/ana/t.txt",
        ];
        for word in left_out {
            let clean = scrub(&format!("connect {word} refused"));
            assert!(clean.contains("(address left out)") && clean.starts_with("connect "), "{word}: {clean}");
            for secret in ["192.0", "2001", "host", "ana", "x.toml"] {
                assert!(!clean.contains(secret), "{word}: {clean}");
            }
        }
        for text in [
            "missed setup.p99<2s",
            "start lag p99 12.0 ms > 10 ms",
            "6.1.0-18-amd64",
            "0.52 0.58 0.59",
            "a/b",
            "exp:3s",
        ] {
            assert_eq!(scrub(text), text);
        }
        assert_eq!(scrub("a\u{1b}[2Jb"), "a[2Jb");
    }
}
