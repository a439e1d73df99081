//! The page and the browser client, embedded in the binary: no build step, no file to install, nothing from elsewhere.
//!
//! `index.html`, `style.css`, `app.js` and its parts in `app/` are the page; `pair.js` with its parts in `pair/` (and `pair.d.ts`) is the
//! client that an app can use without the page. Every answer carries the same strict headers.

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::routing::get;

/// Only what this server serves may run, be styled by or be shown; sockets may also go to a signalling host of another name.
/// A partner's card cannot fetch anything from anywhere: `img-src` and `media-src` end here, and markup is never made from text
/// (`require-trusted-types-for`).
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
     connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'";

/// The same for every file. `no-cache` because a new binary brings new files under the same names.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("permissions-policy"), "microphone=(self), camera=(), geolocation=()"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-cache"),
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Path, content type, bytes.
const FILES: [(&str, &str, &[u8]); 20] = [
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
    FILES.iter().fold(Router::new(), |router, &(path, content_type, bytes)| {
        router.route(path, get(move || async move { (headers(content_type), bytes) }))
    })
}

fn headers(content_type: &'static str) -> HeaderMap {
    HEADERS
        .into_iter()
        .chain([(header::CONTENT_TYPE, content_type)])
        .map(|(name, value)| (name, HeaderValue::from_static(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::collections::BTreeSet;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// Head and body of the answer to one request, as they were on the wire.
    async fn request(method: &str, path: &str) -> (String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router()).await });
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        server.abort();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), body.to_owned())
    }

    #[tokio::test]
    async fn every_file_is_served_whole_with_its_type_and_the_strict_headers() {
        for (path, content_type, bytes) in FILES {
            let (head, body) = request("GET", path).await;
            assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
            assert_eq!(body.as_bytes(), bytes, "{path}");
            for (name, value) in HEADERS.into_iter().chain([(header::CONTENT_TYPE, content_type)]) {
                let line = format!("{name}: {value}").to_lowercase();
                assert_eq!(head.lines().filter(|l| *l == line).count(), 1, "{path}: {line}\n{head}");
            }
        }
    }

    #[tokio::test]
    async fn there_is_nothing_else_and_nothing_to_write_to() {
        assert!(request("GET", "/mod.rs").await.0.starts_with("http/1.1 404"));
        assert!(request("GET", "/%2e%2e/Cargo.toml").await.0.starts_with("http/1.1 404"));
        assert!(request("POST", "/").await.0.starts_with("http/1.1 405"));
    }

    /// Name and text of every script that is served.
    fn scripts() -> impl Iterator<Item = (&'static str, &'static str)> {
        let served = FILES.into_iter().filter(|(_, content_type, _)| *content_type == SCRIPT);
        served.map(|(path, _, bytes)| (path, std::str::from_utf8(bytes).unwrap()))
    }

    /// What the policy would forbid is not in the page: no inline script or style, no address of anybody else.
    #[test]
    fn the_page_obeys_its_own_policy() {
        let html = include_str!("index.html");
        assert_eq!(html.matches("<script").count(), html.matches("<script type=\"module\" src=\"/").count());
        for forbidden in ["style=", "onclick", "javascript:", "<style", "https://", "src=\"http", "href=\"http"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        for (path, script) in scripts() {
            for forbidden in
                ["innerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage", "sessionStorage"]
            {
                assert!(!script.contains(forbidden), "{path}: {forbidden}");
            }
        }
    }

    /// Everything the page's script takes hold of by name exists in the page.
    #[test]
    fn the_script_finds_every_element_it_names() {
        let html = include_str!("index.html");
        for (path, script) in scripts() {
            for name in script.split("$(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                assert!(html.contains(&format!("id=\"{name}\"")), "{path}: {name}");
            }
        }
    }

    /// A part that is imported and not served would be missed only by a browser.
    #[test]
    fn every_script_that_is_imported_is_served() {
        for (path, script) in scripts() {
            let folder = path.rsplit_once('/').unwrap().0;
            let imports = script.lines().filter(|line| line.starts_with("import ") || line.starts_with("export {"));
            for file in imports.filter_map(|line| line.split_once(" from \"./")?.1.strip_suffix("\";")) {
                let wanted = format!("{folder}/{file}");
                assert!(FILES.iter().any(|(served, ..)| *served == wanted), "{path} imports {wanted}");
            }
        }
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
        let parts = scripts().filter(|(path, _)| path.starts_with("/pair"));
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

    /// WCAG 2.2, 1.4.3: a contrast of at least 4.5, in both colour schemes.
    #[test]
    fn every_text_can_be_read_in_light_and_in_dark() {
        let schemes: Vec<&str> = include_str!("style.css").split(":root {").skip(1).collect();
        assert_eq!(schemes.len(), 2);
        for scheme in schemes {
            for (text, ground) in PAIRS {
                let (a, b) = (luminance(scheme, text), luminance(scheme, ground));
                let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(contrast >= 4.5, "{text} on {ground}: {contrast:.2}");
            }
        }
    }

    /// Relative luminance (WCAG 2.2) of `--name: #rrggbb`.
    fn luminance(scheme: &str, name: &str) -> f64 {
        let digits = &scheme.split_once(&format!("--{name}: #")).unwrap().1[..6];
        let channel = |at: usize| {
            let share = f64::from(u8::from_str_radix(&digits[at..at + 2], 16).unwrap()) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
    }
}
