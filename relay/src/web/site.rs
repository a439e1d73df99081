//! Files embedded in the binary, served with strict headers.

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::routing::get;

pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const CSS: &str = "text/css; charset=utf-8";
pub(crate) const SCRIPT: &str = "text/javascript; charset=utf-8";
pub(crate) const SVG: &str = "image/svg+xml";
pub(crate) const PLAIN: &str = "text/plain; charset=utf-8";

/// The same for every file of every site. `no-cache` because a new binary brings new files under the same names.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-cache"),
];

/// Path, content type, bytes.
pub(crate) type File = (&'static str, &'static str, &'static [u8]);

/// Pages that belong together, and what a browser lets them do.
pub(crate) struct Site {
    pub(crate) content_security_policy: &'static str,
    pub(crate) permissions_policy: &'static str,
    pub(crate) files: &'static [File],
}

impl Site {
    pub(crate) fn router(&'static self) -> Router {
        self.files.iter().fold(Router::new(), |router, &(path, content_type, bytes)| {
            router.route(path, get(move || async move { (self.headers(content_type), bytes) }))
        })
    }

    fn headers(&self, content_type: &'static str) -> HeaderMap {
        let own = [
            (header::CONTENT_SECURITY_POLICY, self.content_security_policy),
            (HeaderName::from_static("permissions-policy"), self.permissions_policy),
            (header::CONTENT_TYPE, content_type),
        ];
        HEADERS.into_iter().chain(own).map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
    }
}

/// What must hold of every site.
#[cfg(test)]
pub(crate) mod checks {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    impl Site {
        /// Path and text of every file of this type that is served.
        fn texts(&self, wanted: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
            let served = self.files.iter().filter(move |(_, content_type, _)| *content_type == wanted);
            served.map(|(path, _, bytes)| (*path, std::str::from_utf8(bytes).unwrap()))
        }

        pub(crate) fn scripts(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
            self.texts(SCRIPT)
        }

        fn html(&self) -> &'static str {
            self.texts(HTML).next().unwrap().1
        }
    }

    /// Head and body of the answer to one request that names this `host`, or the right one, as they were on the wire.
    pub(crate) async fn request(router: Router, method: &str, path: &str, host: Option<&str>) -> (String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let host = host.map_or_else(|| address.to_string(), str::to_owned);
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        server.abort();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), body.to_owned())
    }

    pub(crate) async fn serves_every_file_whole_and_nothing_else(site: &Site, router: Router) {
        for &(path, content_type, bytes) in site.files {
            let (head, body) = request(router.clone(), "GET", path, None).await;
            assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
            assert_eq!(body.as_bytes(), bytes, "{path}");
            let own = [
                (header::CONTENT_SECURITY_POLICY, site.content_security_policy),
                (HeaderName::from_static("permissions-policy"), site.permissions_policy),
                (header::CONTENT_TYPE, content_type),
            ];
            for (name, value) in HEADERS.into_iter().chain(own) {
                let line = format!("{name}: {value}").to_lowercase();
                assert_eq!(head.lines().filter(|l| *l == line).count(), 1, "{path}: {line}\n{head}");
            }
        }
        assert!(request(router.clone(), "GET", "/mod.rs", None).await.0.starts_with("http/1.1 404"));
        assert!(request(router.clone(), "GET", "/%2e%2e/Cargo.toml", None).await.0.starts_with("http/1.1 404"));
        assert!(request(router, "POST", "/", None).await.0.starts_with("http/1.1 405"));
    }

    /// What the policy would forbid is not in the page: no inline script or style, no address of anybody else.
    pub(crate) fn obeys_its_own_policy(site: &Site) {
        let html = site.html();
        assert_eq!(html.matches("<script").count(), html.matches("<script type=\"module\" src=\"/").count());
        for forbidden in ["style=", "onclick", "javascript:", "<style", "https://", "src=\"http", "href=\"http"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        for (path, script) in site.scripts() {
            for forbidden in
                ["innerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage", "sessionStorage"]
            {
                assert!(!script.contains(forbidden), "{path}: {forbidden}");
            }
        }
    }

    /// Everything the page's script takes hold of by name exists in the page.
    pub(crate) fn finds_every_element_it_names(site: &Site) {
        let html = site.html();
        for (path, script) in site.scripts() {
            for name in script.split("$(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                assert!(html.contains(&format!("id=\"{name}\"")), "{path}: {name}");
            }
        }
    }

    /// A part that is imported and not served would be missed only by a browser.
    pub(crate) fn serves_every_script_it_imports(site: &Site) {
        for (path, script) in site.scripts() {
            let folder = path.rsplit_once('/').unwrap().0;
            let imports = script.lines().filter(|line| line.starts_with("import ") || line.starts_with("export {"));
            for file in imports.filter_map(|line| line.split_once(" from \"./")?.1.strip_suffix("\";")) {
                let wanted = format!("{folder}/{file}");
                assert!(site.files.iter().any(|(served, ..)| *served == wanted), "{path} imports {wanted}");
            }
        }
    }

    /// WCAG 2.2, 1.4.3: a contrast of at least 4.5 between each text and its ground, in both colour schemes.
    pub(crate) fn every_text_can_be_read(css: &str, pairs: &[(&str, &str)]) {
        let schemes: Vec<&str> = css.split(":root {").skip(1).collect();
        assert_eq!(schemes.len(), 2);
        for scheme in schemes {
            for (text, ground) in pairs {
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
