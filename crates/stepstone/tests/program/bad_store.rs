//! Stores that cannot be read or written in part or as a whole: a bad run folder costs its own branch, and good reports
//! are kept.

use crate::study::{QUICK, assert_same, results, study_place};
use crate::workplace::{bound_by_permissions, command, give_away, set_mode, stepstone};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

/// A finished study in `small`, and the folders of its runs in the order of the plan.
fn finished() -> (tempfile::TempDir, Vec<PathBuf>) {
    let place = study_place(QUICK);
    let output = stepstone(place.path(), &["run", "study.toml"]);
    assert!(output.status.success(), "{output:?}");
    let plan = stepstone(place.path(), &["plan", "study.toml", "--json"]);
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).expect("JSON");
    let runs = plan["runs"].as_array().expect("runs").iter();
    let folder = |run: &serde_json::Value| place.path().join("small/runs").join(run["id"].as_str().expect("id"));
    let folders = runs.map(folder).collect();
    (place, folders)
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The files of a report, which must be kept when nothing better can be written.
fn report(place: &Path) -> Vec<Vec<u8>> {
    let files = ["observations.csv", "report.md", "transfer.svg", "study.json"];
    files.map(|file| fs::read(place.join("small").join(file)).expect("a report")).into()
}

/// What stands in the way of each of these runs, and the part of the message that names it.
// Runs 0 and 1 are the intermediates, 2 to 7 the baseline, and 8 starts from run 0.
fn spoil(runs: &[PathBuf]) -> Vec<(PathBuf, &'static str)> {
    let replaced = |file: PathBuf| {
        fs::remove_file(&file).expect("file");
        fs::create_dir(&file).expect("folder");
        file
    };
    let emptied = |run: &PathBuf| {
        fs::remove_dir_all(run).expect("run");
        fs::create_dir(run).expect("folder");
    };
    let scores = replaced(runs[2].join("scores.json"));
    emptied(&runs[3]);
    fs::create_dir(runs[3].join("failure.json")).expect("folder");
    fs::remove_dir_all(&runs[4]).expect("run");
    fs::write(&runs[4], "a file").expect("file");
    emptied(&runs[5]);
    fs::create_dir(runs[5].join("log.jsonl")).expect("folder");
    emptied(&runs[6]);
    fs::create_dir_all(runs[6].join("predictions.jsonl/x")).expect("folder");
    // A run that lacks nothing but its place is trained as if the others were whole.
    fs::remove_dir_all(&runs[7]).expect("run");
    // The model of a finished run, for which run 8 waits, can be made again.
    replaced(runs[0].join("model/config.json"));
    fs::remove_dir_all(&runs[8]).expect("run");
    vec![
        (scores, "move the folder"),
        (runs[3].join("failure.json"), "move the folder"),
        (runs[4].clone(), "move away"),
        (runs[5].join("log.jsonl"), "move away"),
        (runs[6].join("predictions.jsonl"), "move away"),
    ]
}

#[test]
fn bad_run_folders_cost_only_their_own_runs_and_what_stands_in_the_way_is_named_until_it_is_moved_away() {
    let (place, runs) = finished();
    let want = results(&place.path().join("small"));
    let in_the_way = spoil(&runs);
    for _ in 0..2 {
        let output = stepstone(place.path(), &["run", "study.toml"]);
        let text = message(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("5 of 12 runs failed"), "{text}");
        for (path, hint) in &in_the_way {
            let name = path.strip_prefix(place.path()).expect("inside").display().to_string();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines.iter().rposition(|line| line.contains(" failed: ") && line.contains(&name));
            let after = lines.get(last.expect(&text) + 1).expect("a line");
            assert!(after.contains("hint: ") && after.contains(hint), "{name}: {text}");
        }
        for made in [0, 7, 8] {
            assert!(runs[made].join("scores.json").is_file(), "run {made}: {text}");
        }
    }
    for (path, _) in in_the_way {
        fs::rename(&path, place.path().join(path.file_name().expect("name"))).expect("moves");
    }
    let output = stepstone(place.path(), &["run", "study.toml"]);
    assert!(output.status.success(), "{}", message(&output));
    assert_same(&want, &results(&place.path().join("small")));
}

#[test]
fn run_folders_without_permission_cost_only_their_own_runs() {
    let (place, runs) = finished();
    set_mode(place.path(), 0o755);
    give_away(place.path());
    for run in [2, 5, 8] {
        fs::remove_dir_all(&runs[run]).expect("run");
    }
    fs::create_dir(&runs[5]).expect("folder");
    give_away(&runs[5]);
    // A closed run, a run whose folder takes no file, and a parent whose model cannot be read.
    let closed = [(runs[3].clone(), 0o000), (runs[5].clone(), 0o555), (runs[0].join("model"), 0o000)];
    closed.iter().for_each(|(path, mode)| set_mode(path, *mode));
    let output = bound_by_permissions(place.path(), &["run", "study.toml"]);
    closed.iter().for_each(|(path, _)| set_mode(path, 0o755));
    let Some(output) = output else { return };
    let text = message(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("3 of 12 runs failed"), "{text}");
    for run in [0, 3, 5] {
        assert!(text.contains(&format!("runs/{}", runs[run].file_name().expect("id").to_string_lossy())), "{text}");
    }
    assert_eq!(text.matches("readable, and run the same command again").count(), 2, "{text}");
    assert!(runs[2].join("scores.json").is_file(), "{text}");
    let output = bound_by_permissions(place.path(), &["run", "study.toml"]).expect("runs");
    assert!(output.status.success(), "{}", message(&output));
}

#[test]
fn a_closed_store_is_an_error_of_permission_and_the_earlier_report_stays() {
    let (place, _) = finished();
    set_mode(place.path(), 0o755);
    give_away(place.path());
    let (store, before) = (place.path().join("small/runs"), report(place.path()));
    for command in ["report", "status", "plan", "run", "worker"] {
        set_mode(&store, 0o000);
        let output = bound_by_permissions(place.path(), &[command, "study.toml"]);
        set_mode(&store, 0o755);
        let Some(output) = output else { return };
        assert_eq!(output.status.code(), Some(77), "{command}: {}", message(&output));
        assert!(message(&output).contains("cannot read small/runs"), "{command}: {}", message(&output));
        assert!(message(&output).contains("hint: make small/runs"), "{command}: {}", message(&output));
        assert!(report(place.path()) == before, "{command} replaced the report");
    }
}

#[test]
fn a_store_that_vanished_does_not_replace_a_good_report() {
    let (place, _) = finished();
    let (store, before) = (place.path().join("small/runs"), report(place.path()));
    fs::rename(&store, place.path().join("unmounted")).expect("moves");
    let vanished = |arguments: &[&str]| {
        let output = stepstone(place.path(), arguments);
        assert_eq!(output.status.code(), Some(66), "{}", message(&output));
        assert!(message(&output).contains("small/runs holds no finished run"), "{}", message(&output));
        assert!(report(place.path()) == before, "{}", message(&output));
    };
    vanished(&["report", "study.toml"]);
    fs::create_dir(&store).expect("an empty mount point");
    vanished(&["report", "study.toml"]);
    fs::remove_dir(&store).expect("folder");
    fs::rename(place.path().join("unmounted"), &store).expect("moves");
    assert!(stepstone(place.path(), &["report", "study.toml"]).status.success());
    assert!(report(place.path()) == before);
    // Another study in the same folder never had a score there, so nothing of its own can have vanished.
    let text = fs::read_to_string(place.path().join("study.toml")).expect("study");
    fs::write(place.path().join("study.toml"), text.replace("= 30", "= 20")).expect("study");
    assert!(stepstone(place.path(), &["report", "study.toml"]).status.success());
}

#[test]
fn reports_and_ends_of_runs_at_once_do_not_disturb_each_other() {
    let (place, _) = finished();
    let before = report(place.path());
    for (command_name, processes, rounds) in [("report", 12, 3), ("run", 4, 2)] {
        for _ in 0..rounds {
            let start = |_| {
                let mut command = command(place.path(), &[command_name, "study.toml"]);
                command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts")
            };
            let children: Vec<_> = (0..processes).map(start).collect();
            for child in children {
                let output = child.wait_with_output().expect("ends");
                assert!(output.status.success(), "{command_name}: {}", message(&output));
            }
        }
    }
    assert!(report(place.path()) == before);
    let names =
        fs::read_dir(place.path().join("small")).expect("folder").map(|entry| entry.expect("entry").file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "nothing is left over");
}
