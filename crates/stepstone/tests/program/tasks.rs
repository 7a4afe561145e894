//! Every task of the catalogue is listed, shown and trained, on made-up data in its official layout.

use crate::workplace::stepstone;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use stepstone_tasks::{Files, Task, Text, load, tasks};

/// Writes the tiny golden encoder to `model`, with the words of this task's made-up examples as its vocabulary.
fn model_for(task: &'static Task, place: &Path) {
    let examples = load(task, &stepstone_fixtures::tasks(), &Files::default()).expect(task.name).train;
    let texts = examples.into_iter().flat_map(|example| match example.text {
        Text::Single(only) => vec![only],
        Text::Pair(first, second) => vec![first, second],
        Text::Choices(pairs) => pairs.into_iter().flat_map(|(first, second)| [first, second]).collect(),
    });
    let text = texts.collect::<Vec<_>>().join(" ");
    let lower = text.to_lowercase();
    let words: BTreeSet<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    // The encoder has 61 embedding rows, 5 of them for special tokens. Words that do not fit become the unknown token.
    let mut vocabulary: Vec<String> = words.into_iter().take(56).map(String::from).collect();
    vocabulary.extend((vocabulary.len() + 5..61).map(|i| format!("unused{i}")));
    stepstone_fixtures::copy_encoder(&place.join("model"), &vocabulary);
}

#[test]
fn eight_examples_of_every_task_are_learnt_by_heart_and_predicted() {
    for task in tasks() {
        let place = tempfile::tempdir().expect("temporary folder");
        model_for(task, place.path());
        let data = stepstone_fixtures::tasks().display().to_string();
        let recipe = ["--max-length", "38", "--batch-size", "8", "--max-steps", "300", "--learning-rate", "0.003"];
        let train = ["train", "--model", "model", "--task", task.name, "--data", &data, "--json", "--out", "run"];
        let output = stepstone(place.path(), &[&train[..], &recipe].concat());
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {message}", task.name);
        let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let loss = result["scores"]["final_train_loss"].as_f64().expect("a loss");
        // A constant answer cannot go below ln 2 = 0.69 on two classes of equal size, so 0.2 takes learning.
        assert!(loss < 0.2, "{}: loss {loss} after 300 steps on eight examples", task.name);
        let scores: Vec<&str> =
            result["scores"]["scores"].as_array().expect("scores").iter().filter_map(|s| s["name"].as_str()).collect();
        assert_eq!(scores[0], task.metric.name(), "{}", task.name);

        let file = &load(task, data.as_ref(), &Files::default()).expect(task.name).files[0];
        let predicted = stepstone(place.path(), &["predict", "run", &file.display().to_string()]);
        let lines = String::from_utf8_lossy(&predicted.stdout);
        let first: Value = serde_json::from_str(lines.lines().next().expect("a row")).expect("JSON");
        assert!(task.labels.contains(&first["label"].as_str().expect("a label")), "{}: {first}", task.name);
        assert_eq!(first["probabilities"].as_array().map(Vec::len), Some(task.labels.len()), "{}", task.name);
    }
}

#[test]
fn list_shows_every_task_within_80_columns() {
    let place = tempfile::tempdir().expect("temporary folder");
    let text = String::from_utf8(stepstone(place.path(), &["tasks", "list"]).stdout).expect("text");
    for task in tasks() {
        assert!(text.lines().any(|line| line.starts_with(task.name)), "{}", task.name);
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    insta::assert_snapshot!(text);
    let json: Value =
        serde_json::from_slice(&stepstone(place.path(), &["tasks", "list", "--json"]).stdout).expect("JSON");
    assert_eq!(json["tasks"].as_array().map(Vec::len), Some(tasks().count()));
}

#[test]
fn show_tells_what_the_model_sees() {
    let place = tempfile::tempdir().expect("temporary folder");
    let task = stepstone_tasks::find("copa").expect("a task");
    model_for(task, place.path());
    let data = stepstone_fixtures::tasks().display().to_string();
    let shown = |more: &[&str]| stepstone(place.path(), &[&["tasks", "show", "copa", "--data", &data], more].concat());
    let output = shown(&["--example", "2", "--model", "model"]);
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout));
    let json: Value = serde_json::from_slice(&shown(&["--json"]).stdout).expect("JSON");
    assert_eq!((json["gold"].as_str(), json["texts"].as_array().map(Vec::len)), (Some("0"), Some(2)));
    for (more, code, want) in [
        (["--example", "8"], 64, "there is no example 8 in the train split of copa\n  hint: give a number from 0 to 7"),
        (["--model", "nowhere"], 66, "nowhere does not exist"),
        (["--split", "test"], 64, "possible values: train, dev"),
    ] {
        let output = shown(&more);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{more:?}: {message}");
        assert!(message.contains(want), "{more:?}: {message}");
    }
}
