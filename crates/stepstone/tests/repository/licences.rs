//! Compares licences and sources of all dependencies with `deny.toml`, offline. `cargo deny check` reads the same file
//! and checks more; docs/decisions/licences-by-test.md says why it is not part of `.ci/run`.

use crate::root;
use std::collections::BTreeSet;
use std::process::Command;

/// Accepted licences: the array `allow` of `[licenses]`.
fn allowed() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    let start = text.find("allow = [").expect("deny.toml has `allow = [`");
    // Read as text, because a list of plain strings needs no TOML parser.
    let list = text[start..].split(']').next().expect("`allow` ends with `]`");
    list.split('"').skip(1).step_by(2).map(String::from).collect()
}

/// The target that this machine builds for. Packages for other targets may not be downloaded.
fn host() -> String {
    let output = Command::new("rustc").args(["--print", "host-tuple"]).output().expect("rustc");
    String::from_utf8(output.stdout).expect("UTF-8").trim().into()
}

/// What is wrong with a package's licence, if anything.
fn problem(licence: Option<&str>, allowed: &BTreeSet<String>) -> Option<String> {
    let Some(licence) = licence else { return Some("states no licence".into()) };
    let expression = match spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => return Some(format!("states `{licence}`, which is not an SPDX expression: {}", error.reason)),
    };
    let accepted = expression.evaluate(|requirement| allowed.contains(&requirement.to_string()));
    (!accepted).then(|| format!("is under `{licence}`, which deny.toml does not allow"))
}

#[test]
fn every_dependency_has_a_licence_that_deny_toml_allows() {
    let mut command = cargo_metadata::MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml"));
    let flags = ["--offline", "--locked", "--filter-platform"].map(String::from).into_iter().chain([host()]);
    let metadata = command.other_options(flags.collect::<Vec<_>>()).exec().expect("cargo metadata");
    let allowed = allowed();
    let problems: Vec<String> = metadata
        .packages
        .iter()
        .filter_map(|package| {
            let problem = problem(package.license.as_deref(), &allowed)?;
            Some(format!("{} {} {problem}", package.name, package.version))
        })
        .collect();
    assert!(metadata.packages.len() > 100, "only {} packages were looked at", metadata.packages.len());
    assert!(problems.is_empty(), "choose another crate, or argue for the licence:\n{}", problems.join("\n"));
}

/// Covers all platforms, because Cargo.lock names every package that any build can use.
#[test]
fn every_dependency_comes_from_the_registry() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let sources: BTreeSet<&str> = lock.lines().filter_map(|line| line.strip_prefix("source = ")).collect();
    let registry = "\"registry+https://github.com/rust-lang/crates.io-index\"";
    assert_eq!(sources, BTreeSet::from([registry]), "depend on published crates, not on branches or other registries");
}

#[test]
fn licences_are_judged_as_expressions() {
    let allowed = BTreeSet::from(["MIT".to_owned(), "Apache-2.0 WITH LLVM-exception".into(), "Unicode-3.0".into()]);
    let table = [
        (Some("MIT"), true),
        (Some("MIT OR GPL-3.0-only"), true),
        (Some("GPL-3.0-only/MIT"), true), // old manifests write OR like this
        (Some("(MIT OR Apache-2.0) AND Unicode-3.0"), true),
        (Some("Apache-2.0 WITH LLVM-exception"), true),
        (Some("Apache-2.0"), false),
        (Some("MIT AND GPL-3.0-only"), false),
        (Some("free for all"), false),
        (None, false),
    ];
    for (licence, accepted) in table {
        assert_eq!(problem(licence, &allowed).is_none(), accepted, "{licence:?}");
    }
}
