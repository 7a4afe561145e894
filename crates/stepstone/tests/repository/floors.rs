//! Crates depend only on crates of lower floors.

use cargo_metadata::DependencyKind;

const FIXTURES: &str = "stepstone-fixtures";

const FLOORS: [(&str, u8); 9] = [
    ("stepstone-files", 0),
    ("stepstone-kernels", 0),
    ("stepstone-engine", 1),
    ("stepstone-tasks", 2),
    ("stepstone-models", 3),
    ("stepstone-train", 4),
    ("stepstone-analysis", 5),
    ("stepstone-study", 6),
    ("stepstone", 7),
];

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(crate_name, _)| *crate_name == name).map(|(_, floor)| *floor)
}

#[test]
fn arrows_between_crates_point_down() {
    let mut command = cargo_metadata::MetadataCommand::new();
    let metadata = command.no_deps().other_options(["--offline".to_owned()]).exec().expect("cargo metadata");
    for package in &metadata.packages {
        if package.name.as_str() == FIXTURES {
            assert!(package.dependencies.is_empty(), "{FIXTURES} lies below all floors and depends on nothing");
            continue;
        }
        let from = floor(&package.name).unwrap_or_else(|| panic!("{} has no floor", package.name));
        for dependency in &package.dependencies {
            if dependency.name == FIXTURES {
                assert_eq!(dependency.kind, DependencyKind::Development, "{}: {FIXTURES} is for tests", package.name);
            }
            let Some(to) = floor(&dependency.name) else { continue };
            assert!(to < from, "{} (floor {from}) uses {} (floor {to})", package.name, dependency.name);
            // The floors alone would allow this arrow and the next, so both have checks of their own.
            let engines = ["stepstone-engine", "stepstone-kernels"];
            let tasks = package.name == "stepstone-tasks" && engines.contains(&dependency.name.as_str());
            assert!(!tasks, "stepstone-tasks knows no engine, but uses {}", dependency.name);
            assert_ne!(package.name.as_str(), "stepstone-analysis", "the analysis knows no other crate of ours");
        }
    }
}
