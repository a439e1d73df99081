//! Lines a GitHub runner turns into annotations, and a few of Markdown for its summary.

use super::{Comparison, Word, ci::Conclusion};

/// `::error title=…::…`. What is not the title's own is escaped, so that nothing measured becomes a command.
pub fn line(conclusion: Conclusion, title: &str, message: &str) -> String {
    let command = match conclusion {
        Conclusion::Success => "notice",
        Conclusion::Neutral => "warning",
        Conclusion::Failure => "error",
    };
    format!("::{command} title={}::{}", escape(title).replace(':', "%3A").replace(',', "%2C"), escape(message))
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The verdict as a table.
pub fn summary(of: &Comparison, word: Word, conclusion: Conclusion) -> String {
    let mut text = format!("### loadgen ab: {} ({})\n\n", word.name(), conclusion.name());
    text.push_str(
        "| metric | base | head | ratio | 90 % interval | margin | finding |\n|---|---|---|---|---|---|---|\n",
    );
    for compared in &of.compared {
        let key = compared.asked.metric.key;
        let name = if compared.asked.gated { format!("**{key}**") } else { key.to_owned() };
        let (low, high) = compared.interval;
        text.push_str(&format!(
            "| {name} | {:.3} | {:.3} | {:.3} | {low:.3}–{high:.3} | {:.1} % | {} |\n",
            compared.base,
            compared.head,
            compared.ratio,
            compared.asked.margin * 100.0,
            compared.finding.name()
        ));
    }
    for reason in of.verdict().1 {
        text.push_str(&format!("\n- {reason}"));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_measured_becomes_a_command() {
        let line = line(Conclusion::Failure, "a: b", "100 %\n::error::x");
        assert_eq!(line, "::error title=a%3A b::100 %25%0A::error::x");
        assert_eq!(line.lines().count(), 1);
    }
}
