//! Every dependency is used: a crate that no source file names must leave the manifest. `cargo machete` checks the
//! same, but would have to be compiled on every run of the check.

use crate::root;
use crate::rust_source::{blanked, tokens};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Every word of the Rust files below `folder`.
fn words(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            words(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let code = blanked(&fs::read_to_string(&path).expect("UTF-8"));
            found.extend(tokens(&code).into_iter().map(String::from));
        }
    }
}

/// The keys of `[workspace.dependencies]`.
fn workspace_dependencies() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let lines = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    let table = lines.take_while(|line| !line.starts_with('['));
    table.filter_map(|line| Some(line.split_once(" =")?.0.to_owned())).collect()
}

#[test]
fn every_dependency_is_named_in_the_sources_of_its_crate() {
    let mut command = cargo_metadata::MetadataCommand::new();
    let metadata = command.no_deps().other_options(["--offline".to_owned()]).exec().expect("cargo metadata");
    let (mut unused, mut depended_on) = (Vec::new(), BTreeSet::new());
    for package in &metadata.packages {
        let folder = package.manifest_path.parent().expect("a folder");
        let mut named = BTreeSet::new();
        words(folder.as_std_path(), &mut named);
        for dependency in &package.dependencies {
            depended_on.insert(dependency.name.clone());
            if !named.contains(&dependency.name.replace('-', "_")) {
                unused.push(format!("{}: {}", package.manifest_path, dependency.name));
            }
        }
    }
    let members: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let workspace = workspace_dependencies();
    // Fails if the manifest changes its form and this reader finds no names any more.
    assert!(workspace.len() > 20, "only {workspace:?} were read");
    let orphans = workspace.iter().filter(|name| !depended_on.contains(*name) && !members.contains(name.as_str()));
    unused.extend(orphans.map(|name| format!("Cargo.toml: {name}")));
    assert!(unused.is_empty(), "no source names these; take them out:\n{}", unused.join("\n"));
}

#[test]
fn every_dependency_has_its_reason() {
    let page = fs::read_to_string(root().join("docs/decisions/dependencies.md")).expect("the page");
    let named: BTreeSet<&str> = page.split(|c: char| !c.is_alphanumeric() && !"-_".contains(c)).collect();
    let names = workspace_dependencies().into_iter().filter(|name| !name.starts_with("stepstone-"));
    let missing: Vec<String> = names.filter(|name| !named.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "give each its line in docs/decisions/dependencies.md: {}", missing.join(", "));
}
