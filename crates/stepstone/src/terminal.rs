//! The only way to standard output and standard error: control characters are shown and never obeyed.
//!
//! Texts, labels, names, paths and messages of processes come from files of others. Written as they are, they could set
//! the title of the terminal, fill its clipboard, hide a line or turn one around.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Stderr, StdoutLock, Write};

/// A stream that shows control characters, as `\u001b`, except line ends and tabs.
// JSON writes these characters in the same way, and holds them inside strings only, so one rule serves text and JSON.
pub(crate) struct Terminal<W>(W);

/// Standard output.
#[expect(clippy::disallowed_methods, reason = "the place where it is opened")]
pub(crate) fn output() -> Terminal<StdoutLock<'static>> {
    // Locked once, because `predict` writes a line per row, and a lock per line would cost more than the line.
    Terminal(io::stdout().lock())
}

/// Standard error.
#[expect(clippy::disallowed_methods, reason = "the place where it is opened")]
pub(crate) fn errors() -> Terminal<Stderr> {
    Terminal(io::stderr())
}

/// A stream that nobody reads.
pub(crate) fn nowhere() -> Terminal<io::Sink> {
    Terminal(io::sink())
}

impl<W: IsTerminal> Terminal<W> {
    /// Whether a person watches.
    pub(crate) fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }
}

impl<W: Write> Terminal<W> {
    /// Writes a text with colours of ours. Only sequences that set colours and weight are obeyed.
    pub(crate) fn write_styled(&mut self, text: &str) -> io::Result<()> {
        let mut parts = text.split('\u{1b}');
        self.write_all(parts.next().unwrap_or_default().as_bytes())?;
        for part in parts {
            let style = style(part);
            // Anything that is not a style is escaped like other text.
            self.0.write_all(if style.is_empty() { b"\\u001b" } else { b"\x1b" })?;
            self.0.write_all(style.as_bytes())?;
            self.write_all(&part.as_bytes()[style.len()..])?;
        }
        Ok(())
    }
}

/// The rest of a style sequence (`[1m`, `[38;5;16m`) at the beginning of a text behind its escape; empty if there is none.
fn style(text: &str) -> &str {
    let numbers = text.strip_prefix('[').map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
    match numbers {
        Some(rest) if rest.starts_with('m') => &text[..=text.len() - rest.len()],
        Some(_) | None => "",
    }
}

impl<W: Write> Write for Terminal<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // `write!` hands over whole texts, so no character is cut in two. Bytes that are not UTF-8 are replaced.
        self.0.write_all(shown(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The text as a terminal may get it.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_obeyed(c) {
            let _ = write!(escaped, "\\u{:04x}", u32::from(c)); // a String takes every write
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Whether a terminal would do something for this character instead of showing it.
fn is_obeyed(c: char) -> bool {
    // The last line has the controls of the direction of writing, which make a text look like another one.
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Terminal<Vec<u8>>)) -> String {
        let mut terminal = Terminal(Vec::new());
        write(&mut terminal);
        String::from_utf8(terminal.0).expect("text")
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_and_all_else_stays() {
        let table = [
            ("a\tb\nc", "a\tb\nc"),
            ("\u{1b}]0;title\u{7}", "\\u001b]0;title\\u0007"),
            ("a\rb\u{8}\u{7f}", "a\\u000db\\u0008\\u007f"),
            ("\u{9b}31m\u{85}", "\\u009b31m\\u0085"),
            ("\u{202e}txt\u{2066}\u{2069}\u{200f}\u{61c}", "\\u202etxt\\u2066\\u2069\\u200f\\u061c"),
            ("\u{2212}3 é 漢字 🙂", "\u{2212}3 é 漢字 🙂"),
        ];
        for (text, want) in table {
            assert_eq!(written(|terminal| write!(terminal, "{text}").expect("writes")), want);
        }
        assert_eq!(written(|terminal| terminal.write_all(b"a\x9bb").expect("writes")), "a\u{fffd}b");
    }

    #[test]
    fn json_stays_json_with_the_same_text() {
        let value = serde_json::json!({"text": "\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{2069}"});
        let line = written(|terminal| write!(terminal, "{value}").expect("writes"));
        assert!(!line.contains(is_obeyed), "{line:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).expect("JSON"), value);
    }

    #[test]
    fn our_styles_are_obeyed_and_no_other_sequence() {
        let ours = "\u{1b}[1mFindings\u{1b}[0m \u{1b}[38;5;16;48;5;231m+1.0\u{1b}[0m";
        assert_eq!(written(|terminal| terminal.write_styled(ours).expect("writes")), ours);
        let theirs = "a\u{1b}[2J\u{1b}]0;t\u{7}\u{1b}[1\u{1b}";
        let want = "a\\u001b[2J\\u001b]0;t\\u0007\\u001b[1\\u001b";
        assert_eq!(written(|terminal| terminal.write_styled(theirs).expect("writes")), want);
    }
}
