//! The page and the browser client, embedded in the binary: no build step, no file to install, nothing from elsewhere.
//!
//! `index.html`, `style.css`, `app.js` and its parts in `app/` are the page; `pair.js` with its parts in `pair/` (and `pair.d.ts`) is the
//! client that an app can use without the page. [`site`] serves embedded files with strict headers, these and the operator's dashboard.

pub(crate) mod site;

use axum::Router;

use site::{CSS, File, HTML, PLAIN, SCRIPT, SVG, Site};

/// Only what this server serves may run, be styled by or be shown; sockets may also go to a signalling host of another name.
/// A partner's card cannot fetch anything from anywhere: `img-src` and `media-src` end here, and markup is never made from text
/// (`require-trusted-types-for`).
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
     connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'";

const PERMISSIONS_POLICY: &str = "microphone=(self), camera=(), geolocation=()";

static PAGE: Site =
    Site { content_security_policy: CONTENT_SECURITY_POLICY, permissions_policy: PERMISSIONS_POLICY, files: &FILES };

static FILES: [File; 20] = [
    ("/", HTML, include_bytes!("index.html")),
    ("/style.css", CSS, include_bytes!("style.css")),
    ("/app.js", SCRIPT, include_bytes!("app.js")),
    ("/app/devices.js", SCRIPT, include_bytes!("app/devices.js")),
    ("/app/dom.js", SCRIPT, include_bytes!("app/dom.js")),
    ("/app/meter.js", SCRIPT, include_bytes!("app/meter.js")),
    ("/app/report.js", SCRIPT, include_bytes!("app/report.js")),
    ("/app/words.js", SCRIPT, include_bytes!("app/words.js")),
    ("/pair.js", SCRIPT, include_bytes!("pair.js")),
    ("/pair/call.js", SCRIPT, include_bytes!("pair/call.js")),
    ("/pair/connection.js", SCRIPT, include_bytes!("pair/connection.js")),
    ("/pair/errors.js", SCRIPT, include_bytes!("pair/errors.js")),
    ("/pair/line.js", SCRIPT, include_bytes!("pair/line.js")),
    ("/pair/microphone.js", SCRIPT, include_bytes!("pair/microphone.js")),
    ("/pair/safety.js", SCRIPT, include_bytes!("pair/safety.js")),
    ("/pair/session.js", SCRIPT, include_bytes!("pair/session.js")),
    ("/pair/stats.js", SCRIPT, include_bytes!("pair/stats.js")),
    ("/pair/transcript.js", SCRIPT, include_bytes!("pair/transcript.js")),
    ("/pair.d.ts", PLAIN, include_bytes!("pair.d.ts")),
    ("/icon.svg", SVG, include_bytes!("icon.svg")),
];

/// Routes of the page, to be merged with those of signalling: same origin, so that `pair.js` finds `/v1/ws` by itself.
pub fn router() -> Router {
    PAGE.router()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::collections::BTreeSet;

    #[tokio::test]
    async fn every_file_is_served_whole_with_its_type_and_the_strict_headers() {
        site::checks::serves_every_file_whole_and_nothing_else(&PAGE, router()).await;
    }

    #[test]
    fn the_page_obeys_its_own_policy() {
        site::checks::obeys_its_own_policy(&PAGE);
    }

    #[test]
    fn the_script_finds_every_element_it_names() {
        site::checks::finds_every_element_it_names(&PAGE);
    }

    #[test]
    fn every_script_that_is_imported_is_served() {
        site::checks::serves_every_script_it_imports(&PAGE);
    }

    /// Every event that the client sends out is promised in the types, and none is promised that never comes.
    #[test]
    fn the_types_list_every_event() {
        let types = include_str!("pair.d.ts");
        let listed = types.split_once("interface PairEvents {").unwrap().1.split_once("\n}").unwrap().0;
        let listed: BTreeSet<&str> = listed
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
            .map(|line| line.split(':').next().unwrap())
            .collect();
        let parts = PAGE.scripts().filter(|(path, _)| path.starts_with("/pair"));
        let sent: BTreeSet<&str> = parts
            .flat_map(|(_, script)| script.split("emit(\"").skip(1))
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert_eq!(sent, listed);
    }

    /// What an app can ask of a `Pair`, and no more, is in the types.
    #[test]
    fn the_types_list_every_public_member() {
        let members = |class: &'static str| -> BTreeSet<&'static str> {
            class
                .lines()
                .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
                .map(str::trim)
                .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
                .map(|line| {
                    ["async ", "get ", "readonly "].iter().fold(line, |line, word| line.trim_start_matches(word))
                })
                .map(|line| line.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap())
                .filter(|name| !["constructor", "addEventListener"].contains(name))
                .collect()
        };
        let class = |file: &'static str, head: &str| file.split_once(head).unwrap().1.split_once("\n}").unwrap().0;
        let written = members(class(include_str!("pair.js"), "class Pair extends EventTarget {"));
        let listed = members(class(include_str!("pair.d.ts"), "class Pair extends EventTarget {"));
        assert!(written.len() > 20, "{written:?}");
        assert_eq!(written, listed);
    }

    /// Text and its ground, as the style sheet pairs them.
    const PAIRS: [(&str, &str); 14] = [
        ("ink", "ground"),
        ("ink", "card"),
        ("ink", "raised"),
        ("ink", "tint"),
        ("soft", "ground"),
        ("soft", "glow"),
        ("soft", "card"),
        ("soft", "raised"),
        ("accent", "tint"),
        ("on-accent", "accent"),
        ("on-danger", "danger"),
        ("good", "good-tint"),
        ("warn", "warn-tint"),
        ("ground", "ink"),
    ];

    #[test]
    fn every_text_can_be_read_in_light_and_in_dark() {
        site::checks::every_text_can_be_read(include_str!("style.css"), &PAIRS);
    }
}
