//! The terminal summary: the transfer matrix, then the findings, fitted to a width. If the study has collapsed, that comes
//! before the matrix, whose numbers would otherwise be read first and believed.

use super::terminal::{self, Color, Layout, wrap};
use crate::analysis::Analysis;
use crate::finding::{Finding, Topic};
use crate::format::terminal as safe;

/// The text that `stepstone analyze` prints: the title, the transfer matrix, then the findings with the part of the report
/// that each is based on.
pub fn summary(analysis: &Analysis, layout: Layout) -> String {
    let mut text = terminal::title(analysis, layout.width);
    if let Some(collapse) = analysis.collapse() {
        text.push_str(&wrap(&sentence(collapse), layout.width));
        text.push('\n');
    }
    text.push_str(&terminal::transfer(analysis, analysis.options.mode, layout));
    text.push('\n');
    text.push_str(&emphasis("Findings", layout));
    text.push('\n');
    for finding in analysis.findings.iter().filter(|finding| finding.topic != Topic::Collapse) {
        text.push_str(&item(&sentence(finding), layout.width));
    }
    if analysis.findings.is_empty() {
        text.push_str("Nothing can be said about these observations.\n");
    }
    let input = &analysis.input;
    text.push('\n');
    let read = format!("Read: {} observations, {} with a score, {} without.", input.rows, input.used, input.failed);
    text.push_str(&wrap(&read, layout.width));
    input.notes.iter().for_each(|note| text.push_str(&item(note, layout.width)));
    text
}

fn sentence(finding: &Finding) -> String {
    format!("{} [{}]", safe(&finding.text), finding.figure.title())
}

/// A list item: a hyphen and a paragraph, its later lines indented.
pub fn item(line: &str, width: usize) -> String {
    // Two characters less: the hyphen and the space, or the indent below them.
    let body = wrap(&safe(line), width.saturating_sub(2));
    format!("- {}\n", body.trim_end().replace('\n', "\n  "))
}

fn emphasis(words: &str, layout: Layout) -> String {
    match layout.color {
        Color::None => words.to_owned(),
        Color::Ansi256 => format!("\u{1b}[1m{words}\u{1b}[0m"),
    }
}
