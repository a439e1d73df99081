//! Text inside XML, HTML and Markdown: whatever came from a file or a server stays text.

/// For element content and quoted attributes of XML and HTML. What neither allows at all is left out.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\t' | '\n' => safe.push(' '),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {}
            c => safe.push(c),
        }
    }
    safe
}

/// For a cell of a table in Markdown, where HTML is read as well.
pub(super) fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in escape(text).chars() {
        if matches!(c, '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~') {
            safe.push('\\');
        }
        safe.push(c);
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out() {
        assert_eq!(escape("<a href=\"x\" on='y'>&\u{0}\n"), "&lt;a href=&quot;x&quot; on=&#39;y&#39;&gt;&amp; ");
        assert_eq!(cell("a|b[c](d)<e>"), "a\\|b\\[c\\](d)&lt;e&gt;");
    }
}
