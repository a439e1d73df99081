//! The page and the browser client, embedded in the binary: no build step, no file to install, nothing from elsewhere.
//!
//! `index.html`, `style.css` and `app.js` are the page; `pair.js` with `call.js` (and `pair.d.ts`) is the client that an
//! app can use without the page. Every answer carries the same strict headers.

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
const FILES: [(&str, &str, &[u8]); 7] = [
    ("/", HTML, include_bytes!("index.html")),
    ("/style.css", CSS, include_bytes!("style.css")),
    ("/app.js", SCRIPT, include_bytes!("app.js")),
    ("/pair.js", SCRIPT, include_bytes!("pair.js")),
    ("/call.js", SCRIPT, include_bytes!("call.js")),
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

    /// What the policy would forbid is not in the page: no inline script or style, no address of anybody else.
    #[test]
    fn the_page_obeys_its_own_policy() {
        let html = include_str!("index.html");
        assert_eq!(html.matches("<script").count(), html.matches("<script type=\"module\" src=\"/").count());
        for forbidden in ["style=", "onclick", "javascript:", "<style", "https://", "src=\"http", "href=\"http"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        for script in [include_str!("app.js"), include_str!("pair.js"), include_str!("call.js")] {
            for forbidden in
                ["innerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage", "sessionStorage"]
            {
                assert!(!script.contains(forbidden), "{forbidden}");
            }
        }
    }

    /// Everything the page's script takes hold of by name exists in the page.
    #[test]
    fn the_script_finds_every_element_it_names() {
        let html = include_str!("index.html");
        for name in include_str!("app.js").split("$(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(html.contains(&format!("id=\"{name}\"")), "{name}");
        }
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
