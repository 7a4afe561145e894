//! `stepstone train` through the real program, on a tiny random encoder and a made-up data set.

use crate::workplace::{TRAIN, command, train, workplace};
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn a_run_learns_and_its_files_are_the_same_for_any_number_of_threads() {
    let place = workplace();
    for threads in ["1", "2", "8"] {
        let output = train(place.path(), &["--out", threads, "--threads", threads]);
        assert!(output.status.success(), "{output:?}");
    }
    for file in ["scores.json", "predictions.jsonl", "model/model.safetensors", "model/config.json"] {
        let read = |run: &str| fs::read(place.path().join(run).join(file)).expect(file);
        assert!(read("1") == read("2") && read("1") == read("8"), "{file}");
    }
    let scores = fs::read_to_string(place.path().join("1/scores.json")).expect("scores");
    let scores: serde_json::Value = serde_json::from_str(&scores).expect("JSON");
    assert_eq!(scores["scores"][0]["value"], 1.0, "{scores}");
    let again = train(place.path(), &["--out", "1"]);
    assert!(again.status.success() && String::from_utf8_lossy(&again.stdout).contains("accuracy"));
}

#[test]
fn weights_get_the_permissions_of_any_other_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let place = workplace();
    assert!(train(place.path(), &["--out", "run"]).status.success());
    let mode = |file: &str| fs::metadata(place.path().join("run").join(file)).expect(file).permissions().mode();
    assert_eq!(mode("model/model.safetensors"), mode("scores.json"));
}

/// Steps of all events of this kind in a run's log.
fn events(place: &Path, event: &str) -> Vec<u64> {
    let log = fs::read_to_string(place.join("killed/log.jsonl")).unwrap_or_default();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter(|line| line["event"] == event).filter_map(|line| line["step"].as_u64()).collect()
}

#[test]
fn a_run_killed_after_its_second_resume_point_ends_with_the_bytes_of_an_uninterrupted_one() {
    let place = workplace();
    // Long enough that the kill hits training, with a resume point at every evaluation.
    let long = ["--resume-seconds", "0", "--evaluations", "100", "--max-steps", "1000", "--threads", "1"];
    let arguments: Vec<&str> = TRAIN.iter().copied().filter(|a| !["--max-steps", "60"].contains(a)).collect();
    let run = |out: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stepstone"));
        command.current_dir(place.path()).args(&arguments).args(long).args(["--out", out]);
        command
    };
    assert!(run("whole").output().expect("runs").status.success());
    let mut child = run("killed").stderr(std::process::Stdio::null()).spawn().expect("starts");
    while events(place.path(), "saved").len() < 2 {
        assert!(child.try_wait().expect("child").is_none(), "the run ended before it was killed");
    }
    child.kill().expect("kill -9");
    child.wait().expect("child");
    assert!(!place.path().join("killed/scores.json").exists(), "the kill fell inside the run");
    assert!(run("killed").output().expect("runs").status.success());
    // An evaluation every 10 steps puts the second resume point at step 20 at the earliest.
    let resumed = events(place.path(), "resume");
    assert!(resumed.len() == 1 && resumed[0] >= 20, "resumed at {resumed:?}");
    for file in ["scores.json", "predictions.jsonl", "model/model.safetensors", "run.json"] {
        let read = |run: &str| fs::read(place.path().join(run).join(file)).expect(file);
        assert!(read("whole") == read("killed"), "{file}");
    }
}

#[test]
fn a_second_process_is_told_that_another_one_trains_in_the_folder() {
    let place = workplace();
    let arguments = [&TRAIN[..], &["--max-steps", "100000", "--threads", "1", "--out", "killed"]].concat();
    let arguments: Vec<&str> = {
        let mut given = arguments;
        given.drain(9..11); // without the --max-steps that the other tests use
        given
    };
    let mut first = Command::new(env!("CARGO_BIN_EXE_stepstone"));
    let first = first.current_dir(place.path()).args(&arguments).stderr(std::process::Stdio::null());
    let mut first = first.spawn().expect("starts");
    while events(place.path(), "step").is_empty() {
        assert!(first.try_wait().expect("child").is_none(), "the first process ended");
    }
    let second = Command::new(env!("CARGO_BIN_EXE_stepstone")).current_dir(place.path()).args(&arguments).output();
    let second = second.expect("runs");
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    first.kill().expect("kill -9");
    first.wait().expect("child");
    assert_eq!(second.status.code(), Some(73), "{message}");
    assert!(
        message.contains(&format!("process {} on ", first.id())) && message.contains("is training in"),
        "{message}"
    );
}

#[test]
fn a_limit_on_file_sizes_is_named_with_the_file_that_met_it() {
    let place = workplace();
    let program = env!("CARGO_BIN_EXE_stepstone");
    // At most 20 KiB, whichever block size the shell counts in; the weights alone have 52.
    let script = format!("ulimit -f 20; exec {program} {} --out run", TRAIN.join(" "));
    let output = Command::new("sh").args(["-c", &script]).current_dir(place.path()).output().expect("runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{message}");
    assert!(message.contains("cannot write run/") && message.contains("ulimit -f"), "{message}");
}

#[test]
fn ctrl_c_saves_the_state_and_names_the_command_that_goes_on() {
    use std::process::Stdio;
    let place = workplace();
    let long = ["--max-steps", "100000", "--threads", "1", "--out", "killed"];
    let arguments: Vec<&str> =
        TRAIN.iter().copied().filter(|a| !["--max-steps", "60"].contains(a)).chain(long).collect();
    let child = command(place.path(), &arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    while events(place.path(), "step").is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signal");
    let output = child.wait_with_output().expect("ends");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{message}");
    assert!(message.contains("state saved in killed; run the same command to continue"), "{message}");
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON")
}

#[test]
fn a_run_out_of_patience_ends_with_the_evaluation_that_was_one_too_many() {
    let place = workplace();
    // 60 steps, an evaluation every third. The model soon learns the made-up data, and then no score is better.
    let output = train(place.path(), &["--evaluations", "20", "--patience", "2", "--out", "run"]);
    assert!(output.status.success(), "{output:?}");
    let scores = json(&place.path().join("run/scores.json"));
    let (steps, best) = (scores["steps"].as_u64().expect("steps"), scores["best_step"].as_u64().expect("steps"));
    assert_eq!(scores["scores"][0]["value"], 1.0, "{scores}");
    assert_eq!(steps, best + 3 * 3, "three evaluations no better than the best");
    assert!(steps < 60, "{scores}");
}

#[test]
fn preset_acl2020_trains_with_the_study_s_optimizer_head_and_values() {
    let place = workplace();
    let output = train(place.path(), &["--preset", "acl2020", "--out", "run"]);
    assert!(output.status.success(), "{output:?}");
    let record = json(&place.path().join("run/run.json"));
    let recipe = &record["identity"]["recipe"];
    assert_eq!((&recipe["optimizer"], &recipe["head"]), (&"bert_adam".into(), &"linear".into()));
    assert_eq!((&recipe["batch_size"], &recipe["classifier_dropout"]), (&64.into(), &0.1.into()));
    // A flag wins over the preset, and is named as the source of the value.
    assert_eq!(recipe["learning_rate"].as_f64(), Some(0.005));
    assert_eq!(record["sources"]["learning_rate"].as_str(), Some("flag"));
    assert!(place.path().join("run/model/head.safetensors").is_file());
}
