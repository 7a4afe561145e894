//! The main job through the real program, on a tiny random encoder and a made-up data set.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A tiny encoder with a vocabulary of its own, and sst2-like data in which one word decides.
fn workplace() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("temporary folder");
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../stepstone-models/tests/golden/bert");
    let (model, data) = (place.path().join("model"), place.path().join("data/sst2"));
    fs::create_dir_all(&model).expect("folder");
    fs::create_dir_all(&data).expect("folder");
    for file in ["config.json", "model.safetensors"] {
        fs::copy(golden.join(file), model.join(file)).expect("copies");
    }
    let mut vocab: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from).to_vec();
    vocab.extend((0..56).map(|i| format!("w{}", char::from(b'a' + i % 26).to_string().repeat(1 + i as usize / 26))));
    fs::write(model.join("vocab.txt"), vocab.join("\n")).expect("vocabulary");
    for (name, rows) in [("train.tsv", 64), ("dev.tsv", 24)] {
        let row = |i: usize| format!("w{} w{}\t{}\n", ["a", "b"][i % 2], char::from(b'c' + (i % 20) as u8), i % 2);
        let text: String = (0..rows).map(row).collect();
        fs::write(data.join(name), format!("sentence\tlabel\n{text}")).expect("data");
    }
    place
}

fn stepstone(place: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stepstone")).current_dir(place).args(arguments).output().expect("runs")
}

const TRAIN: [&str; 13] = [
    "train",
    "--model",
    "model",
    "--task",
    "sst2",
    "--data",
    "data",
    "--max-length",
    "16",
    "--max-steps",
    "60",
    "--learning-rate",
    "0.005",
];

fn train(place: &Path, more: &[&str]) -> Output {
    stepstone(place, &[&TRAIN, more].concat())
}

#[test]
fn a_run_learns_and_its_files_are_the_same_for_any_number_of_threads() {
    let place = workplace();
    for threads in ["1", "2", "3"] {
        let output = train(place.path(), &["--out", threads, "--threads", threads]);
        assert!(output.status.success(), "{output:?}");
    }
    for file in ["scores.json", "predictions.jsonl", "model/model.safetensors", "model/config.json"] {
        let read = |run: &str| fs::read(place.path().join(run).join(file)).expect(file);
        assert!(read("1") == read("2") && read("1") == read("3"), "{file}");
    }
    let scores = fs::read_to_string(place.path().join("1/scores.json")).expect("scores");
    let scores: serde_json::Value = serde_json::from_str(&scores).expect("JSON");
    assert_eq!(scores["scores"][0]["value"], 1.0, "{scores}");
    let again = train(place.path(), &["--out", "1"]);
    assert!(again.status.success() && String::from_utf8_lossy(&again.stdout).contains("accuracy"));

    let predictions = stepstone(place.path(), &["predict", "1", "data/sst2/dev.tsv"]);
    assert_eq!(String::from_utf8_lossy(&predictions.stdout).lines().count(), 24, "{predictions:?}");
    let export = stepstone(place.path(), &["export", "1", "exported"]);
    assert!(export.status.success() && place.path().join("exported/README.md").is_file(), "{export:?}");
}

#[test]
fn bad_input_gets_its_documented_exit_code() {
    let place = workplace();
    let with = |from: usize, value: &str| {
        let mut arguments: Vec<&str> = TRAIN.to_vec();
        arguments[from] = value;
        stepstone(place.path(), &arguments)
    };
    fs::write(place.path().join("file"), "x").expect("file");
    let table = [
        ("no model", with(2, "nowhere"), 66, "nowhere/config.json does not exist"),
        ("unknown task", with(4, "sst"), 64, "did you mean `sst2`?"),
        ("no data", with(6, "nowhere"), 66, "nowhere does not exist"),
        ("too long", with(8, "64"), 78, "`max_length` is 64, expected 3 to 40"),
        ("unknown flag", train(place.path(), &["--epoch", "1"]), 64, "--epochs"),
        ("out below a file", train(place.path(), &["--out", "file/run"]), 73, "file/run"),
        ("unwritable out", train(place.path(), &["--out", "/proc/run"]), 73, "/proc/run"),
        ("no run", stepstone(place.path(), &["predict", "x", "y"]), 66, "x/run.json does not exist"),
    ];
    for (name, output, code, text) in table {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{name}: {message}");
        assert!(message.contains(text), "{name}: {message}");
    }
    let config = place.path().join("model/config.json");
    let text = fs::read_to_string(&config).expect("config");
    fs::write(&config, text.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1")).expect("config");
    let output = train(place.path(), &[]);
    assert_eq!(output.status.code(), Some(65), "a config that does not match the weights: {output:?}");
    fs::write(&config, text).expect("config");
    fs::write(place.path().join("model/model.safetensors"), "short").expect("file");
    assert_eq!(train(place.path(), &[]).status.code(), Some(65), "corrupt weights");
}

/// A full disk: every byte written to the log is refused, as /dev/full does.
#[test]
fn a_full_disk_is_an_io_error_that_names_the_file() {
    let place = workplace();
    fs::create_dir(place.path().join("run")).expect("folder");
    std::os::unix::fs::symlink("/dev/full", place.path().join("run/log.jsonl")).expect("link");
    let output = train(place.path(), &["--out", "run"]);
    assert_eq!(output.status.code(), Some(74), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("run/log.jsonl"), "{output:?}");
}

#[test]
fn weights_get_the_permissions_of_any_other_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let place = workplace();
    assert!(train(place.path(), &["--out", "run"]).status.success());
    let mode = |file: &str| fs::metadata(place.path().join("run").join(file)).expect(file).permissions().mode();
    assert_eq!(mode("model/model.safetensors"), mode("scores.json"));
}

/// Events of a run's log with their step.
fn events(place: &Path, event: &str) -> Vec<u64> {
    let log = fs::read_to_string(place.join("killed/log.jsonl")).unwrap_or_default();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter(|line| line["event"] == event).filter_map(|line| line["step"].as_u64()).collect()
}

#[test]
fn a_run_killed_after_its_second_resume_point_ends_with_the_bytes_of_an_uninterrupted_one() {
    let place = workplace();
    // Long enough that the kill falls inside; a resume point at every evaluation.
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
    let resumed = events(place.path(), "resume");
    assert!(resumed.len() == 1 && resumed[0] >= 20, "resumed at {resumed:?}");
    for file in ["scores.json", "predictions.jsonl", "model/model.safetensors", "run.json"] {
        let read = |run: &str| fs::read(place.path().join(run).join(file)).expect(file);
        assert!(read("whole") == read("killed"), "{file}");
    }
}
