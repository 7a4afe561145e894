//! House rules that the compiler does not check. Each message says what to do.

use crate::root;
use crate::rust_source::{blanked, closing, tokens};
use std::fs;
use std::path::{Path, PathBuf};

/// Maximum number of lines in a file; a reader cannot keep a longer one in mind.
const LONGEST: usize = 600;

/// Exceptions: longer files, each with its reason.
const LONGER: [(&str, &str); 0] = [];

/// Maximum number of fields in a struct; with more, a reader cannot tell which belong together.
const FIELDS: usize = 12;

/// Pages that the program writes. Every other page that a file names must be in the repository.
const WRITTEN_PAGES: [&str; 2] = ["report.md", "exported/README.md"];

/// Folders of a user's machine, which no file of a repository may name.
const MACHINE_FOLDERS: [&str; 7] = ["home", "root", "Users", "work", "opt", "mnt", "tmp"];

/// The problems of one file: `line: what is wrong; what to do`.
fn problems(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let rust = Path::new(path).extension().is_some_and(|extension| extension == "rs");
    if rust && !text.starts_with("//! ") {
        found.push("1: says nothing about the file; begin with `//! ` and what the file is for".into());
    }
    let length = text.lines().count();
    let exempt = LONGER.iter().any(|(longer, _)| *longer == path);
    if rust && length > LONGEST && !exempt {
        found.push(format!(
            "{length}: is over {LONGEST} lines; split the file by concept, or give its reason in LONGER"
        ));
    }
    if length <= LONGEST && exempt {
        found.push(format!("{length}: is no longer over {LONGEST} lines; take it out of LONGER"));
    }
    let mut prints_allowed =
        path.starts_with("crates/stepstone/") || path.contains("/tests/") || path.contains("/examples/") || !rust;
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        let code = line.split("//").next().unwrap_or_default();
        prints_allowed |= code.contains("#[cfg(test)]"); // tests stand last
        if rust && code.trim() == "#[ignore]" {
            found.push(format!("{number}: ignores a test without a reason; write `#[ignore = \"why\"]` or delete it"));
        }
        if !prints_allowed && let Some(printer) = printer(code) {
            found.push(format!("{number}: calls {printer}; return the text, and let the command line print it"));
        }
        if is_library(path) && names_a_flag(code) {
            found.push(format!(
                "{number}: names a flag, which the command at hand may lack; name the key of the recipe"
            ));
        }
        // Comments count as well: such a path is wrong in any text.
        if let Some(folder) = machine_folder(line) {
            found
                .push(format!("{number}: names {folder} of one machine; take the path from an argument or a variable"));
        }
        // Clippy enforces the limit of 7 parameters; this rule forbids lifting it.
        if rust && line.trim_start().starts_with("#[") && line.contains("too_many_arguments") {
            found.push(format!("{number}: lifts the limit of 7 parameters; name what belongs together in a struct"));
        }
    }
    if rust {
        found.extend(wide_structs(text));
    }
    found
}

/// Structs with more than [`FIELDS`] named fields.
fn wide_structs(text: &str) -> Vec<String> {
    let code = blanked(text);
    let mut found = Vec::new();
    for (start, _) in code.match_indices("struct ") {
        let end = code[start..].find(['{', ';', '(']).map_or(code.len(), |length| start + length);
        let name = tokens(&code[start..end]).get(1).copied().unwrap_or_default().to_owned();
        if !code[end..].starts_with('{') {
            continue;
        }
        let fields = fields(&code[end + 1..closing(&code, end)]);
        let line = code[..start].lines().count();
        if fields > FIELDS {
            found.push(format!("{line}: `{name}` has {fields} fields, over {FIELDS}; nest those that belong together"));
        }
    }
    found
}

/// Number of fields: counts single colons outside all brackets.
fn fields(body: &str) -> usize {
    let (mut depth, mut count) = (0, 0);
    for token in tokens(body) {
        match token {
            "(" | "[" | "{" | "<" => depth += 1,
            ")" | "]" | "}" | ">" => depth -= 1,
            ":" if depth == 0 => count += 1,
            _ => {}
        }
    }
    count
}

/// Markdown pages that a line names: paths that end in `.md`.
fn pages(line: &str) -> impl Iterator<Item = &str> {
    let paths = line.split(|c: char| !c.is_alphanumeric() && !"_-./".contains(c));
    let names = paths.map(|path| path.trim_end_matches('.').trim_start_matches("../"));
    names.filter(|path| path.len() > 3 && Path::new(path).extension().is_some_and(|extension| extension == "md"))
}

/// Whether a file is the source of a crate below the command line.
fn is_library(path: &str) -> bool {
    path.contains("/src/") && path.starts_with("crates/") && !path.starts_with("crates/stepstone/")
}

fn names_a_flag(code: &str) -> bool {
    code.match_indices("--").any(|(start, _)| code[start + 2..].starts_with(|c: char| c.is_ascii_lowercase()))
}

/// The printing macro in a line of code, if any.
fn printer(code: &str) -> Option<&'static str> {
    ["eprintln!", "println!", "eprint!", "print!", "dbg!"].into_iter().find(|name| {
        let starts = code.match_indices(name).map(|(start, _)| start);
        let mut whole = starts.filter(|start| !code[..*start].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
        whole.next().is_some()
    })
}

/// An absolute path below one of [`MACHINE_FOLDERS`]. Web addresses and paths below a variable do not count.
fn machine_folder(line: &str) -> Option<String> {
    MACHINE_FOLDERS.iter().map(|folder| format!("/{folder}/")).find(|folder| {
        let mut starts = line.match_indices(folder.as_str()).map(|(start, _)| start);
        starts.any(|start| !line[..start].ends_with(|c: char| c.is_alphanumeric() || "._-}/~*".contains(c)))
    })
}

/// Files below `folder` that people write, without build output, run folders and hidden folders.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path());
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir()
            && (!name.starts_with('.') || name == ".ci")
            && !["target", "runs", "__pycache__"].contains(&&*name)
        {
            files(&path, found);
        } else if path.is_file() {
            let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            let written = ["rs", "md", "toml", "py", "sh", "yml", "txt"].contains(&&*extension);
            let fixture = path.components().any(|part| part.as_os_str() == "golden" || part.as_os_str() == "snapshots");
            if (written && (!fixture || extension == "rs" || extension == "py")) || path.ends_with(".ci/run") {
                found.push(path);
            }
        }
    }
}

#[test]
fn every_file_keeps_the_rules_of_the_house() {
    let root = root();
    let mut paths = Vec::new();
    files(&root, &mut paths);
    paths.sort();
    assert!(paths.iter().any(|path| path.ends_with(file!())), "the walk misses this very file");
    let all = paths.iter().flat_map(|path| {
        let name = path.strip_prefix(&root).expect("below the root").to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
        problems(&name, &text).into_iter().map(move |problem| format!("{name}:{problem}"))
    });
    let all: Vec<String> = all.collect();
    assert!(all.is_empty(), "\n{}\n", all.join("\n"));
}

#[test]
fn every_page_that_a_file_names_exists() {
    let root = root();
    let mut paths = Vec::new();
    files(&root, &mut paths);
    let known: Vec<String> = paths.iter().map(|path| path.display().to_string().replace('\\', "/")).collect();
    let exists = |page: &str| known.iter().any(|path| path.ends_with(&format!("/{page}")));
    let mut missing = Vec::new();
    for (path, name) in paths.iter().zip(&known) {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let named = text.lines().enumerate().flat_map(|(index, line)| pages(line).map(move |page| (index + 1, page)));
        let unknown = named.filter(|(_, page)| !WRITTEN_PAGES.contains(page) && !exists(page));
        missing.extend(unknown.map(|(line, page)| format!("{name}:{line}: {page}")));
    }
    assert!(missing.is_empty(), "no such page here; say in docs/ what a reader needs:\n{}", missing.join("\n"));
}

#[test]
fn each_rule_finds_its_breach() {
    // Put together at run time, or this file would break the rules that it tests.
    let print = "println";
    let long = format!("//! Long.\n{}", "\n".repeat(LONGEST));
    let home = format!("let path = \"{}/me/data\";", "/home");
    let arguments = format!("//! A.\n#[expect(clippy::{}, reason = \"many\")]\n", "too_many_arguments");
    let wide = |fields: usize| {
        let fields: Vec<String> = (0..fields).map(|i| format!("    pub f{i}: Vec<(u8, [a::B; 2])>,\n")).collect();
        let fields = fields.concat();
        format!("//! A.\nstruct Unit;\n#[derive(Debug)]\npub struct Wide<'a> {{\n{fields}}}\n")
    };
    let table: [(&str, String, Option<&str>); 17] = [
        ("crates/x/src/a.rs", "//! Good.\nfn f() {}\n".into(), None),
        ("crates/x/src/a.rs", "use std::fs;\n".into(), Some("1: says nothing")),
        ("crates/x/src/a.rs", long, Some("601: is over 600 lines")),
        ("crates/x/src/a.rs", "//! A.\n    #[ignore]\n".into(), Some("2: ignores a test")),
        ("crates/x/src/a.rs", "//! A.\n#[ignore = \"needs a GPU\"]\n".into(), None),
        ("crates/x/src/a.rs", format!("//! A.\n    {print}!(\"x\");\n"), Some("2: calls println!")),
        ("crates/x/src/a.rs", format!("//! A.\n    e{print}!(\"x\");\n"), Some("2: calls eprintln!")),
        ("crates/x/src/a.rs", format!("//! A.\n// {print}!(\"x\");\n"), None),
        ("crates/x/src/a.rs", format!("//! A.\n#[cfg(test)]\nmod tests {{ {print}!() }}\n"), None),
        ("crates/stepstone/src/main.rs", format!("//! A.\n    {print}!(\"x\");\n"), None),
        ("crates/x/src/a.rs", arguments, Some("2: lifts the limit of 7 parameters")),
        ("crates/x/src/a.rs", wide(13), Some("4: `Wide` has 13 fields, over 12")),
        ("crates/x/src/a.rs", wide(12), None),
        ("docs/observations.md", home, Some("1: names ")),
        ("docs/observations.md", "https://example.org/home/x and $HOME/work/x".into(), None),
        ("crates/x/src/a.rs", "//! A.\n    \"set it with --epochs\"\n".into(), Some("2: names a flag")),
        ("crates/stepstone/src/a.rs", "//! A.\n    \"set it with --epochs\"\n".into(), None),
    ];
    for (path, text, want) in table {
        let found = problems(path, &text);
        match want {
            None => assert!(found.is_empty(), "{text:?}: {found:?}"),
            Some(want) => {
                assert!(found.len() == 1 && found[0].starts_with(want), "{text:?}: {found:?}, expected {want}");
            }
        }
    }
}
