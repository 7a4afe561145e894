//! Damaged results: every command that reads them names the file, and `run` makes them again with the same bytes.

use crate::study::{QUICK, RUNS, assert_same, count, results, study_place};
use crate::workplace::{stepstone, train, workplace};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("writes");
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("a file");
    assert!(text.contains(from), "{}: {text}", path.display());
    fs::write(path, text.replacen(from, to, 1)).expect("writes");
}

fn message(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A finished study in `small`, and the folders of its runs in the order of the plan: 2 intermediates, 6 runs of the
/// baseline, 4 runs after the intermediates.
fn finished_study() -> (tempfile::TempDir, Vec<PathBuf>) {
    let place = study_place(QUICK);
    assert!(stepstone(place.path(), &["run", "study.toml"]).status.success());
    let plan = stepstone(place.path(), &["plan", "study.toml", "--json"]);
    let plan: Value = serde_json::from_slice(&plan.stdout).expect("JSON");
    let folder = |run: &Value| place.path().join("small/runs").join(run["id"].as_str().expect("id"));
    let folders: Vec<PathBuf> = plan["runs"].as_array().expect("runs").iter().map(folder).collect();
    assert_eq!(folders.len(), RUNS);
    (place, folders)
}

#[test]
fn status_verify_lists_every_damaged_run_report_refuses_them_and_run_makes_them_again() {
    let (place, runs) = finished_study();
    let out = place.path().join("small");
    let (want, report) = (results(&out), fs::read(out.join("report.md")).expect("a report"));
    let verify = stepstone(place.path(), &["status", "study.toml", "--verify"]);
    assert_eq!(verify.status.code(), Some(0), "{}", message(&verify));
    assert!(message(&verify).contains("12 finished runs are whole, 0 are damaged"), "{}", message(&verify));

    flip(&runs[0].join("model/model.safetensors"));
    fs::write(runs[2].join("predictions.jsonl"), "").expect("writes");
    fs::remove_file(runs[3].join("predictions.jsonl")).expect("removes");
    replace(&runs[4].join("scores.json"), "\"n_train\": 64", "\"n_train\": 65");
    replace(&runs[5].join("run.json"), "\"seed\": ", "\"seed\": 7");
    fs::remove_file(runs[6].join("scores.json")).expect("removes");
    fs::OpenOptions::new()
        .append(true)
        .open(runs[1].join("model/vocab.txt"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"wzz\n"))
        .expect("writes");

    let verify = stepstone(place.path(), &["status", "study.toml", "--verify"]);
    assert_eq!(verify.status.code(), Some(65), "{}", message(&verify));
    assert!(message(&verify).contains("5 finished runs are whole, 7 are damaged"), "{}", message(&verify));
    let json = stepstone(place.path(), &["status", "study.toml", "--verify", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let listed: Vec<String> = json["damaged"].as_array().expect("runs").iter().map(Value::to_string).collect();
    let damaged = [
        (0, "model/model.safetensors: digest "),
        (1, "model/vocab.txt: digest "),
        (2, "predictions.jsonl: digest "),
        (3, "predictions.jsonl: no such file, expected digest "),
        (4, "scores.json: content of digest "),
        (5, "run.json: id "),
        (6, "scores.json: no such file, expected the scores of a run that is done"),
    ];
    for (run, what) in damaged {
        let id = runs[run].file_name().expect("id").to_string_lossy();
        assert!(listed.iter().any(|line| line.contains(&*id) && line.contains(what)), "{what}: {listed:#?}");
    }

    // A report reads scores and records; the report of before stays.
    let refused = stepstone(place.path(), &["report", "study.toml"]);
    assert_eq!(refused.status.code(), Some(65), "{}", message(&refused));
    for what in [damaged[4].1, damaged[5].1, "hint: `stepstone run study.toml` makes damaged runs again"] {
        assert!(message(&refused).contains(what), "{what}: {}", message(&refused));
    }
    assert_eq!(fs::read(out.join("report.md")).expect("a report"), report);

    let again = stepstone(place.path(), &["run", "study.toml"]);
    assert!(again.status.success(), "{}", message(&again));
    assert_eq!(message(&again).matches("is made again: ").count(), 4, "{}", message(&again));
    assert_eq!(count(&out, "start"), RUNS + damaged.len());
    assert_same(&want, &results(&out));
    assert_eq!(stepstone(place.path(), &["status", "study.toml", "--verify"]).status.code(), Some(0));
}

#[test]
fn a_damaged_run_is_made_again_by_a_worker_before_another_starts_from_it() {
    let (place, runs) = finished_study();
    let out = place.path().join("small");
    let want = results(&out);
    flip(&runs[0].join("model/model.safetensors"));
    // The first run after the baseline starts from the first intermediate.
    let record: Value = serde_json::from_slice(&fs::read(runs[8].join("run.json")).expect("record")).expect("JSON");
    let parent = runs[0].file_name().expect("id").to_string_lossy();
    assert_eq!(record["identity"]["encoder"], format!("run:{parent}"));
    fs::remove_dir_all(&runs[8]).expect("removes");
    let worker = stepstone(place.path(), &["worker", "study.toml"]);
    assert!(worker.status.success(), "{}", message(&worker));
    assert_eq!((count(&out, "damaged"), count(&out, "start")), (1, RUNS + 1));
    assert_same(&want, &results(&out));
}

#[test]
fn predict_and_export_name_the_damaged_file_of_a_run_with_65() {
    let place = workplace();
    let at = place.path();
    assert!(train(at, &["--out", "run"]).status.success());
    let names = [
        "model/model.safetensors",
        "model/vocab.txt",
        "model/config.json",
        "predictions.jsonl",
        "run.json",
        "scores.json",
    ];
    for name in names {
        let path = at.join("run").join(name);
        let bytes = fs::read(&path).expect("a file");
        for damage in [flip, |path: &Path| fs::write(path, "").expect("writes")] {
            damage(&path);
            for arguments in [["predict", "run", "data/sst2/dev.tsv"], ["export", "run", "exported"]] {
                let output = stepstone(at, &arguments);
                assert_eq!(output.status.code(), Some(65), "{arguments:?} {name}: {}", message(&output));
                let said = message(&output);
                assert!(said.contains(&format!("run/{name}: ")) && said.contains("hint: "), "{arguments:?}: {said}");
            }
            assert!(!at.join("exported").exists(), "{name}");
            fs::write(&path, &bytes).expect("writes");
        }
    }
    assert!(stepstone(at, &["export", "run", "exported"]).status.success());
}
