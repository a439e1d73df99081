//! The operator's dashboard: what `/metrics`, `/readyz` and `/v1/waiting` say, looked at every two seconds by a page.
//!
//! Live numbers are read from the text of `/metrics` and rates are made of them in the page: what it shows is what Prometheus sees, and no
//! second list of counters has to be kept true. Only waiting groups have a JSON of their own, because no counter has them.
//!
//! The listener asks nobody who they are and is reached by browsers, so the page answers a `Host` of this machine only: a name of somebody
//! else's that resolves to loopback (DNS rebinding) gets 403. Scrapers go by whatever name they like to `/metrics`, as before.

use axum::Router;
use axum::middleware::from_fn;

use crate::signalling::own_page;
use crate::web::site::{CSS, File, HTML, SCRIPT, SVG, Site};

static DASHBOARD: Site = Site {
    content_security_policy: "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    permissions_policy: "microphone=(), camera=(), geolocation=()",
    files: &FILES,
};

static FILES: [File; 8] = [
    ("/", HTML, include_bytes!("dashboard/index.html")),
    ("/dashboard/style.css", CSS, include_bytes!("dashboard/style.css")),
    ("/dashboard/dashboard.js", SCRIPT, include_bytes!("dashboard/dashboard.js")),
    ("/dashboard/draw.js", SCRIPT, include_bytes!("dashboard/draw.js")),
    ("/dashboard/metrics.js", SCRIPT, include_bytes!("dashboard/metrics.js")),
    ("/dashboard/panels.js", SCRIPT, include_bytes!("dashboard/panels.js")),
    ("/dashboard/words.js", SCRIPT, include_bytes!("dashboard/words.js")),
    ("/dashboard/icon.svg", SVG, include_bytes!("../web/icon.svg")),
];

pub(super) fn router() -> Router {
    DASHBOARD.router().layer(from_fn(own_page))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::site::checks;

    #[tokio::test]
    async fn every_file_is_served_whole_with_its_type_and_the_strict_headers() {
        checks::serves_every_file_whole_and_nothing_else(&DASHBOARD, router()).await;
    }

    #[test]
    fn the_page_obeys_its_own_policy() {
        checks::obeys_its_own_policy(&DASHBOARD);
    }

    #[test]
    fn the_script_finds_every_element_it_names() {
        checks::finds_every_element_it_names(&DASHBOARD);
    }

    #[test]
    fn every_script_that_is_imported_is_served() {
        checks::serves_every_script_it_imports(&DASHBOARD);
    }

    #[tokio::test]
    async fn a_name_that_is_not_this_machines_gets_a_word_about_why_not() {
        for own in ["localhost", "localhost:9641", "127.0.0.1:9641", "127.8.8.8", "[::1]:9641"] {
            let (head, _) = checks::request(router(), "GET", "/", Some(own)).await;
            assert!(head.starts_with("http/1.1 200"), "{own}: {head}");
        }
        // A browser sends the page's own origin with its module.
        for (origin, status) in
            [("http://localhost:9641", 200), ("http://localhost:8080", 403), ("https://evil.example", 403)]
        {
            let host = format!("localhost:9641\r\norigin: {origin}");
            let (head, _) = checks::request(router(), "GET", "/dashboard/dashboard.js", Some(&host)).await;
            assert!(head.starts_with(&format!("http/1.1 {status}")), "{origin}: {head}");
        }
        for other in ["rebound.example", "rebound.example:9641", "localhost.rebound.example", "10.0.0.4:9641", ""] {
            for path in ["/", "/dashboard/dashboard.js"] {
                let (head, body) = checks::request(router(), "GET", path, Some(other)).await;
                assert!(head.starts_with("http/1.1 403"), "{other}: {head}");
                assert!(body.contains("localhost"), "{other}: {body}");
            }
        }
    }

    /// Text and its ground, as the style sheet pairs them.
    const PAIRS: [(&str, &str); 11] = [
        ("ink", "ground"),
        ("ink", "card"),
        ("ink", "raised"),
        ("soft", "ground"),
        ("soft", "card"),
        ("soft", "raised"),
        ("accent", "card"),
        ("accent", "ground"),
        ("good", "good-tint"),
        ("warn", "warn-tint"),
        ("danger", "danger-tint"),
    ];

    #[test]
    fn every_text_can_be_read_in_light_and_in_dark() {
        checks::every_text_can_be_read(include_str!("dashboard/style.css"), &PAIRS);
    }
}
