//! One HTML file that needs nothing: no script, no font, no picture from anywhere. It reads in the dark, on paper and on a
//! phone, every plot has its words, and nothing in it says where anything is or who made it.

mod chart;
mod knee;
mod percentiles;
mod phases;
mod series;
mod tables;
mod waterfall;

#[cfg(test)]
mod tests;

use std::fmt::Write;

use super::{knee::KneePoint, markup::escape, recorded::Recorded};

const STYLE: &str = include_str!("style.css");
/// Nothing may be loaded or run, whatever a hole in the escaping would let in.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// `knee`: the points of a search for the limit, shown instead of those of the run itself.
pub fn render(result: &Recorded, knee: Option<&[KneePoint]>) -> String {
    let word = clean(&result.verdict.word);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>loadgen: {word}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n"
    );
    heading(&mut page, result);
    page.push_str("<main>\n");
    section(&mut page, "numbers", "Latencies", &phases::render(result));
    section(&mut page, "percentiles", "Latency by percentile", &percentiles::render(result));
    section(&mut page, "series", "Second by second", &series::render(result));
    section(&mut page, "waterfall", "Where calls spent their set-up", &waterfall::render(result));
    section(&mut page, "knee", "Load and latency", &knee::render(knee.unwrap_or(&result.knee)));
    section(&mut page, "outcomes", "What became of the calls", &tables::outcomes(result));
    section(&mut page, "media", "Media", &tables::media(result));
    section(&mut page, "hosts", "Server and generator", &tables::hosts(result));
    section(&mut page, "setting", "How to do it again", &tables::setting(result));
    page.push_str("</main>\n<footer><p>Made by loadgen from its own recorded result. It holds no address and names nobody.</p></footer>\n");
    page.push_str("</body>\n</html>\n");
    page
}

fn section(page: &mut String, id: &str, title: &str, body: &str) {
    if !body.is_empty() {
        let _ = writeln!(page, "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{title}</h2>\n{body}</section>");
    }
}

/// The verdict, why, and what to keep in mind.
fn heading(page: &mut String, result: &Recorded) {
    let (load, outcomes) = (&result.load, &result.outcomes);
    let kind = match result.verdict.exit_code {
        0 => "pass",
        5 | 8 => "open",
        _ => "fail",
    };
    let _ = writeln!(
        page,
        "<header>\n<h1>loadgen: <span class=\"verdict {kind}\">{}</span></h1>",
        clean(&result.verdict.word)
    );
    list(page, "Why", &result.verdict.reasons);
    list(page, "To keep in mind", &result.remarks());
    let success = outcomes.success.map_or_else(|| "—".to_owned(), |success| format!("{:.2} %", success * 100.0));
    let facts = [
        ("offered", format!("{:.1} calls/s", load.offered_cps), format!("{:.0} BHCA", load.offered_bhca)),
        ("achieved", format!("{:.1} calls/s", load.achieved_cps), format!("{} calls", outcomes.calls_up)),
        ("success", success, format!("of {} attempts", outcomes.calls_up + outcomes.failed())),
        ("peak", format!("{} calls", load.calls_peak), format!("{:.0} Erlang in the mean", load.calls_mean)),
        (
            "generator headroom",
            format!("{:.0} %", result.generator_headroom * 100.0),
            "0 % would be its limit".to_owned(),
        ),
    ];
    page.push_str("<dl class=\"facts\">\n");
    for (name, value, note) in facts {
        let _ = writeln!(page, "<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>");
    }
    page.push_str("</dl>\n");
    let _ = writeln!(page, "<p>{}</p>\n</header>", sentence(result));
}

fn sentence(result: &Recorded) -> String {
    let whom = match (result.target.own, result.target.loopback) {
        (true, _) => "a relay of its own",
        (false, true) => "a server on the same machine",
        (false, false) => "a server across a network",
    };
    let model =
        if result.model == "closed" { "a closed population, whose latencies hide stalls" } else { "open arrivals" };
    let when =
        result.started_at.as_deref().map_or_else(String::new, |at| format!(", begun <time>{}</time>", clean(at)));
    format!(
        "Measured for {:.0} s after {:.0} s of warm-up against {whom} with {model}{when}. Callers are {}.",
        result.measured_secs,
        result.warmup_secs(),
        clean(&result.callers)
    )
}

fn list(page: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(page, "<h2 class=\"minor\">{title}</h2>\n<ul>");
    for line in lines {
        let _ = writeln!(page, "<li>{}</li>", clean(line));
    }
    page.push_str("</ul>\n");
}

/// Text from a result, safe anywhere in the page.
fn clean(text: &str) -> String {
    escape(text)
}

/// Milliseconds for a cell.
fn millis(value: Option<f64>) -> String {
    value.map_or_else(|| "—".to_owned(), super::number)
}

/// A table that scrolls by itself where it is too wide: the first cell of each row names it.
fn table(caption: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\">\n<table>\n<caption>{caption}</caption>\n"
    );
    out.push_str("<thead><tr>");
    for column in head {
        let _ = write!(out, "<th scope=\"col\">{column}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        for (index, cell) in row.iter().enumerate() {
            let _ = match index {
                0 => write!(out, "<tr><th scope=\"row\">{cell}</th>"),
                _ => write!(out, "<td>{cell}</td>"),
            };
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
    out
}
