//! README and docs quote the current output of the program, and name only commands and flags that exist.
//!
//! A quoted output is an indented block below a line `<!-- quoted: COMMAND | until TEXT -->`: standard output of the
//! command in an empty folder, up to the first line that holds TEXT. `tools/quote_outputs.sh` writes the blocks anew.

use crate::workplace::stepstone;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// README and the pages of docs, without the results: those are dated and stay as measured.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two folders below the root");
    let docs = fs::read_dir(root.join("docs")).expect("docs").map(|entry| entry.expect("an entry").path());
    let pages = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.chain([root.join("README.md"), root.join("bench/README.md")]).collect()
}

/// The expected block below `marker`: the indented output of the command.
fn block(marker: &str) -> String {
    let (command, until) =
        marker.split_once(" | until ").map_or((marker, None), |(command, text)| (command, Some(text)));
    let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
    let place = tempfile::tempdir().expect("temporary folder");
    let output = stepstone(place.path(), &arguments);
    assert!(output.status.success(), "{command}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut lines: Vec<&str> = text.lines().collect();
    if let Some(until) = until {
        let last = lines.iter().position(|line| line.contains(until));
        lines.truncate(1 + last.unwrap_or_else(|| panic!("{command} prints no line with {until:?}:\n{text}")));
        lines.push("...");
    }
    let indented = lines.iter().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") });
    indented.collect()
}

/// The page with every quoted block replaced by the current output.
fn renewed(page: &str) -> String {
    let (mut out, mut lines) = (String::new(), page.lines().peekable());
    while let Some(line) = lines.next() {
        out.extend([line, "\n"]);
        let marker = line.strip_prefix("<!-- quoted: ").and_then(|rest| rest.strip_suffix(" -->"));
        if let Some(marker) = marker {
            while lines.next_if(|line| line.is_empty() || line.starts_with("    ")).is_some() {}
            out.extend(["\n", &block(marker), "\n"]);
        }
    }
    out
}

#[test]
fn quoted_outputs_are_what_the_program_prints() {
    let write = std::env::var_os("STEPSTONE_QUOTES").is_some_and(|value| value == "write");
    let mut quotes = 0;
    for path in pages() {
        let page = fs::read_to_string(&path).expect("a page");
        quotes += page.matches("<!-- quoted: ").count();
        let renewed = renewed(&page);
        if write {
            fs::write(&path, renewed).expect("writes");
        } else {
            assert_eq!(page, renewed, "{} is stale: run tools/quote_outputs.sh", path.display());
        }
    }
    assert!(quotes > 0, "no page quotes anything");
}

/// The words of each piece of inline code on a page that begins with `stepstone`.
fn commands(page: &str) -> Vec<Vec<&str>> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("    "));
    let spans = page.split('`').skip(1).step_by(2);
    let words = lines.chain(spans).map(|code| code.split_whitespace().collect::<Vec<_>>());
    words.filter(|words| words.len() > 1 && words[0] == "stepstone").collect()
}

#[test]
fn every_command_and_flag_that_a_page_names_exists() {
    let place = tempfile::tempdir().expect("temporary folder");
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    let mut unknown = Vec::new();
    for path in pages() {
        let page = fs::read_to_string(&path).expect("a page");
        for words in commands(&page) {
            // `stepstone status | report STUDY` names two commands.
            let names = words[1..].iter().take_while(|word| word.starts_with(char::is_lowercase) || **word == "|");
            let command = *names.clone().next().unwrap_or(&"help");
            let help = helps.entry(command.to_owned()).or_insert_with(|| {
                let output = stepstone(place.path(), &[command, "--help"]);
                if output.status.success() { String::from_utf8(output.stdout).expect("UTF-8") } else { String::new() }
            });
            let flags = words.iter().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '-'));
            let missing: Vec<&str> = flags.filter(|word| word.starts_with("--") && !help.contains(word)).collect();
            if help.is_empty() || !missing.is_empty() {
                unknown.push(format!("{}: `{}` {missing:?}", path.display(), words.join(" ")));
            }
        }
    }
    assert!(helps.len() > 5, "only {:?} were found", helps.keys());
    assert!(unknown.is_empty(), "stepstone has no such command or flag:\n{}", unknown.join("\n"));
}
