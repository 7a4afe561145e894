//! The files of a crate do not depend on each other in circles, so each file can be understood after those it uses.
//!
//! A file uses another through a path: `crate::...`, `super::...`, `self::...`, or one that begins with a module it
//! declares or a name it imports. Declaring a module is not a use; re-exporting from it is. An item that the crate root
//! re-exports counts as a use of the file that defines it. Test items may use any file.

use crate::root;
use crate::rust_source::{blanked, tokens, without_tests};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type ModulePath = Vec<String>;

/// One file: what it declares, imports and names.
struct Module {
    file: PathBuf,
    children: Vec<String>,
    /// Imported and re-exported names with the paths they stand for.
    imports: BTreeMap<String, ModulePath>,
    /// Every path of the file, those of its imports too.
    paths: Vec<ModulePath>,
}

impl Module {
    fn read(file: PathBuf) -> Self {
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let code = without_tests(&blanked(&text));
        let tokens = tokens(&code);
        let mut module = Self { file, children: Vec::new(), imports: BTreeMap::new(), paths: Vec::new() };
        let mut at = 0;
        while at < tokens.len() {
            match tokens[at..] {
                // Only this form names another file; a module with a body is part of this one.
                ["mod", name, ";", ..] => module.children.push(name.into()),
                ["use", ..] => at = module.read_use(&tokens, at + 1, &[]),
                [first, "::", ..] if at == 0 || tokens[at - 1] != "::" => module.paths.push(path(first, &tokens[at..])),
                _ => {}
            }
            at += 1;
        }
        module
    }

    /// Reads the use tree at `at` below `prefix`; returns where it ends.
    fn read_use(&mut self, tokens: &[&str], mut at: usize, prefix: &[String]) -> usize {
        let mut path = prefix.to_vec();
        let mut alias = None;
        loop {
            match tokens[at] {
                "{" => {
                    while tokens[at] != "}" {
                        at = self.read_use(tokens, at + 1, &path);
                    }
                    return at + 1;
                }
                "}" | "," | ";" => break,
                "as" => {
                    alias = Some(tokens[at + 1].to_owned());
                    at += 1;
                }
                "::" | "*" => {}
                "self" if !path.is_empty() => {}
                segment => path.push(segment.into()),
            }
            at += 1;
        }
        // A tree that ends in `self` or `*` imports its prefix, which then has no segment of its own.
        if path.len() > prefix.len() || alias.is_some() || ["self", "*"].contains(&tokens[at - 1]) {
            let name = alias.or_else(|| path.last().cloned()).unwrap_or_default();
            self.imports.insert(name, path.clone());
            self.paths.push(path);
        }
        at
    }
}

/// The path that begins with `first`: words separated by `::`.
fn path(first: &str, tokens: &[&str]) -> ModulePath {
    let rest = tokens[1..].chunks_exact(2).take_while(|pair| pair[0] == "::").map(|pair| pair[1]);
    let words = rest.take_while(|word| word.starts_with(|c: char| c.is_alphabetic() || c == '_'));
    std::iter::once(first).chain(words).map(String::from).collect()
}

/// The modules of one crate by their paths; the root's is empty.
struct Crate(BTreeMap<ModulePath, Module>);

impl Crate {
    fn read(root: &Path) -> Self {
        let mut modules = Self(BTreeMap::new());
        modules.add(Vec::new(), root.into(), root.parent().expect("a folder"));
        modules
    }

    fn add(&mut self, at: ModulePath, file: PathBuf, folder: &Path) {
        let module = Module::read(file);
        for name in &module.children {
            let files = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
            if let Some(file) = files.into_iter().find(|file| file.is_file()) {
                self.add([at.clone(), vec![name.clone()]].concat(), file, &folder.join(name));
            }
        }
        self.0.insert(at, module);
    }

    /// The module whose file defines what `path` names in `module`; None for other crates and local names.
    fn resolve(&self, module: &ModulePath, path: &[String]) -> Option<ModulePath> {
        let ups = path.iter().take_while(|segment| *segment == "super").count();
        let (mut at, mut rest) = match path.first()?.as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (module.clone(), &path[1..]),
            "super" => (module[..module.len().saturating_sub(ups)].to_vec(), &path[ups..]),
            first => {
                let child = [&module[..], &[first.to_owned()]].concat();
                let known = self.0.contains_key(&child) || self.0[module].imports.contains_key(first);
                (known.then(|| module.clone())?, path)
            }
        };
        while let Some((segment, after)) = rest.split_first() {
            let child = [&at[..], std::slice::from_ref(segment)].concat();
            if self.0.contains_key(&child) {
                (at, rest) = (child, after);
                continue;
            }
            // Names in the crate root and imports of this module are followed to their definition.
            // An import that stands for itself, such as `use serde;`, would be followed for ever.
            let target = self.0[&at].imports.get(segment).filter(|target| *target != path);
            return match target {
                Some(target) if at.is_empty() || at == *module => self.resolve(&at, &[&target[..], after].concat()),
                _ => Some(at),
            };
        }
        Some(at)
    }

    /// Which modules each module uses.
    fn uses(&self) -> BTreeMap<&ModulePath, BTreeSet<ModulePath>> {
        let uses = |(at, module): (&ModulePath, &Module)| {
            module.paths.iter().filter_map(|path| self.resolve(at, path)).filter(|other| other != at).collect()
        };
        self.0.iter().map(|entry| (entry.0, uses(entry))).collect()
    }

    /// The files in a circle, each with the files of the circle that it uses.
    fn circles(&self) -> Vec<String> {
        let uses = self.uses();
        let reach: BTreeMap<_, _> = uses.keys().map(|module| (*module, reachable(&uses, module))).collect();
        let in_circle =
            |module: &ModulePath, other: &ModulePath| reach[module].contains(other) && reach[other].contains(module);
        let name = |module: &ModulePath| self.0[module].file.file_name().unwrap_or_default().display().to_string();
        let of = |module: &ModulePath| -> Vec<String> {
            uses[module].iter().filter(|other| in_circle(module, other)).map(name).collect()
        };
        // Only a module that can reach itself lies in a circle.
        let inside = self.0.keys().filter(|module| reach[module].contains(*module));
        inside.map(|module| format!("{} uses {}", self.0[module].file.display(), of(module).join(", "))).collect()
    }
}

fn reachable(uses: &BTreeMap<&ModulePath, BTreeSet<ModulePath>>, start: &ModulePath) -> BTreeSet<ModulePath> {
    let mut found = BTreeSet::new();
    let mut open: Vec<ModulePath> = vec![start.clone()];
    while let Some(module) = open.pop() {
        open.extend(uses[&module].iter().filter(|other| found.insert((*other).clone())).cloned());
    }
    found
}

#[test]
fn no_files_of_a_crate_use_each_other_in_a_circle() {
    let mut problems = Vec::new();
    for entry in fs::read_dir(root().join("crates")).expect("crates") {
        let folder = entry.expect("an entry").path();
        let source = folder.join("src");
        let roots = ["lib.rs", "main.rs"].map(|name| source.join(name)).into_iter().filter(|root| root.is_file());
        problems.extend(roots.flat_map(|root| Crate::read(&root).circles()));
    }
    assert!(
        problems.is_empty(),
        "files in a circle; move what both sides need into a file of its own:\n{}",
        problems.join("\n")
    );
}

#[test]
fn circles_are_found_and_declarations_are_not_uses() {
    type Files = &'static [(&'static str, &'static str)];
    let table: [(&str, Files, usize); 8] = [
        ("declarations", &[("lib", "mod a; mod b;"), ("a", "use crate::b::B;"), ("b", "")], 0),
        (
            "two files",
            &[("lib", "mod a; mod b;"), ("a", "use crate::b::{B, C};"), ("b", "fn f() { super::a::g() }")],
            2,
        ),
        (
            "through the root",
            &[("lib", "mod a; mod b; pub use a::A;"), ("a", "use crate::b;"), ("b", "use crate::A;")],
            2,
        ),
        ("the root's own item", &[("lib", "mod a; pub use a::A; pub struct B;"), ("a", "use crate::B;")], 2),
        (
            "a re-export, used by its child",
            &[("lib", "mod a;"), ("a", "mod c; pub use c::C;"), ("a/c", "use super::A;")],
            2,
        ),
        ("a child's function", &[("lib", "mod a;"), ("a", "mod c; fn f() { c::g() }"), ("a/c", "use super::*;")], 2),
        (
            "tests",
            &[("lib", "mod a; mod b;"), ("a", "use crate::b::B;"), ("b", "#[cfg(test)] mod t { use crate::a; }")],
            0,
        ),
        (
            "comments",
            &[("lib", "mod a; mod b;"), ("a", "use crate::b as x;"), ("b", "// crate::a::A\n\"crate::a\"")],
            0,
        ),
    ];
    for (name, files, want) in table {
        let place = tempfile::tempdir().expect("temporary folder");
        for (file, text) in files {
            let path = place.path().join(format!("{file}.rs"));
            fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
            fs::write(path, text).expect("file");
        }
        let circles = Crate::read(&place.path().join("lib.rs")).circles();
        assert_eq!(circles.len(), want, "{name}: {circles:?}");
    }
}
