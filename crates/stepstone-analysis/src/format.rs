//! Numbers and names as people read them.

/// U+2212: as wide as a plus sign, which a hyphen is not.
const MINUS: char = '\u{2212}';

/// A difference with its sign: `+3.2`, `−0.4`, and `0.0` without one.
pub(crate) fn signed(value: f64, decimals: usize) -> String {
    let text = plain(value, decimals);
    if text.starts_with(MINUS) || is_zero(&text) { text } else { format!("+{text}") }
}

/// A number with a true minus sign; what rounds to 0 has no sign.
pub(crate) fn plain(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    // -0.04 with one decimal would print a minus sign before nothing.
    if value < 0.0 && !is_zero(&text) { format!("{MINUS}{text}") } else { text }
}

fn is_zero(text: &str) -> bool {
    text.chars().all(|c| matches!(c, '0' | '.'))
}

/// A p-value with about two significant digits, never 0.
pub(crate) fn p_value(p: f64) -> String {
    match p {
        // Beyond this, p depends on how well the tail of an approximation holds.
        _ if p < 0.0001 => "< 0.0001".to_owned(),
        _ if p < 0.001 => format!("{p:.4}"),
        _ if p < 0.1 => format!("{p:.3}"),
        _ => format!("{p:.2}"),
    }
}

/// `1 run`, `3 runs`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list(names: &[impl AsRef<str>]) -> String {
    match names {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

/// `1 - alpha` as a percentage: `95 %`.
pub(crate) fn confidence(alpha: f64) -> String {
    let percent = 100.0 * (1.0 - alpha);
    // 100 (1 - 0.001) is 99.9 only up to rounding; six decimals are enough for every level.
    let rounded = (percent * 1e6).round() / 1e6;
    format!("{rounded} %")
}

/// Text for XML and HTML; characters that XML cannot hold become U+FFFD.
pub(crate) fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Text for a Markdown table: no mark-up, no HTML, no cell border, one line.
pub(crate) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '$' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Text for a terminal: control characters, which could move the cursor, become U+FFFD.
pub(crate) fn terminal(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Text cut to `width` characters, the last one an ellipsis where something was cut.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['\u{2026}']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_carry_a_true_minus_and_no_sign_at_zero() {
        for (value, want) in
            [(3.24, "+3.2"), (-0.4, "\u{2212}0.4"), (-0.04, "0.0"), (0.0, "0.0"), (-12.25, "\u{2212}12.2")]
        {
            assert_eq!(signed(value, 1), want, "{value}");
        }
        for (p, want) in [(0.0, "< 0.0001"), (0.000_12, "0.0001"), (0.0304, "0.030"), (0.5, "0.50"), (1.0, "1.00")] {
            assert_eq!(p_value(p), want);
        }
        assert_eq!(confidence(0.05), "95 %");
        assert_eq!(confidence(0.001), "99.9 %");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
    }

    #[test]
    fn names_cannot_break_out_of_their_place() {
        let name = "<b onload='x'>|a_b*\u{1b}[2J";
        assert_eq!(xml(name), "&lt;b onload=&#39;x&#39;&gt;|a_b*\u{fffd}[2J");
        assert_eq!(markdown(name), "&lt;b onload='x'&gt;\\|a\\_b\\* \\[2J");
        assert_eq!(terminal(name), "<b onload='x'>|a_b*\u{fffd}[2J");
        assert_eq!(cut("mnli-matched", 6), "mnli-\u{2026}");
    }
}
