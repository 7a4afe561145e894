//! `predict` and `export`: trained runs are used, named by their folder or a prefix of their id.

use crate::workplace::{stepstone, train, workplace};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The labels and probabilities that `predict` gives for `file`.
fn predictions(place: &Path, run: &str, file: &str) -> Vec<Value> {
    let output = stepstone(place, &["predict", run, file]);
    assert!(output.status.success(), "{run} {file}: {}", message(&output));
    json_lines(&String::from_utf8_lossy(&output.stdout))
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn predictions_of_both_heads_equal_those_of_the_last_evaluation() {
    let place = workplace();
    for head in ["hf", "linear"] {
        assert!(train(place.path(), &["--head", head, "--out", head]).status.success(), "{head}");
        let evaluated = fs::read_to_string(place.path().join(head).join("predictions.jsonl")).expect("predictions");
        let evaluated = json_lines(&evaluated);
        let predicted = predictions(place.path(), head, "data/sst2/dev.tsv");
        assert_eq!((predicted.len(), evaluated.len()), (24, 24), "{head}");
        for (row, (ours, theirs)) in predicted.iter().zip(&evaluated).enumerate() {
            assert_eq!(ours["label"], theirs["predicted"], "{head} row {row}");
            let logit = |class: usize| theirs["logits"][class].as_f64().expect("logit");
            let want = 1.0 / (1.0 + (logit(0) - logit(1)).exp());
            let got = ours["probabilities"][1].as_f64().expect("probability");
            // The file holds logits as f32. Each is off by up to 2^-24 of its size, which is below 16 here.
            assert!((got - want).abs() <= 1e-6, "{head} row {row}: {got} and {want}");
        }
    }
}

#[test]
fn new_rows_need_no_labels_and_may_be_compressed() {
    let place = workplace();
    assert!(train(place.path(), &["--out", "run"]).status.success());
    let bare = "index\tsentence\n7\twa wc\n9\twb wd\n";
    fs::write(place.path().join("new.tsv"), bare).expect("file");
    let rows = predictions(place.path(), "run", "new.tsv");
    let labels: Vec<&Value> = rows.iter().map(|row| &row["label"]).collect();
    assert_eq!(labels, ["0", "1"], "one word decides");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, bare.as_bytes()).expect("compresses");
    fs::write(place.path().join("new.tsv.gz"), gzip.finish().expect("compresses")).expect("file");
    assert_eq!(predictions(place.path(), "run", "new.tsv.gz"), rows);
    let table = [
        ("nowhere.tsv", 66, "nowhere.tsv does not exist, expected a file of rows"),
        ("data", 66, "data is a folder, expected a file of rows"),
        ("run/scores.json", 65, "run/scores.json:1: the header has no column `sentence`"),
    ];
    for (file, code, want) in table {
        let output = stepstone(place.path(), &["predict", "run", file]);
        assert_eq!(output.status.code(), Some(code), "{file}: {}", message(&output));
        assert!(message(&output).contains(want), "{file}: {}", message(&output));
    }
}

#[test]
fn a_run_is_named_by_its_folder_or_the_beginning_of_its_id() {
    let place = workplace();
    let at = place.path();
    for seed in ["0", "1"] {
        assert!(train(at, &["--seed", seed]).status.success());
    }
    let runs = fs::read_dir(at.join("runs")).expect("runs").map(|entry| entry.expect("entry").file_name());
    let mut ids: Vec<String> = runs.map(|id| id.to_string_lossy().into_owned()).collect();
    ids.sort();
    let common = ids[0].bytes().zip(ids[1].bytes()).take_while(|(a, b)| a == b).count();
    // One character more than both ids share is the shortest prefix that names one run.
    let unique = &ids[0][..=common];
    let whole = predictions(at, &format!("runs/{}", ids[0]), "data/sst2/dev.tsv");
    assert_eq!(predictions(at, unique, "data/sst2/dev.tsv"), whole, "{ids:?}");
    let exported = stepstone(at, &["export", unique, "exported"]);
    assert!(exported.status.success() && at.join("exported/config.json").is_file(), "{}", message(&exported));

    // A third run, so that some prefix always matches two ids.
    fs::create_dir(at.join("runs").join(format!("{unique}x"))).expect("folder");
    fs::write(at.join("runs").join(format!("{unique}x/run.json")), "{}").expect("file");
    for (name, code, want) in [(unique, 64, "matches 2 runs, expected one"), ("zz", 66, "there is no run `zz`")] {
        for arguments in [["predict", name, "data/sst2/dev.tsv"], ["export", name, "elsewhere"]] {
            let output = stepstone(at, &arguments);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", message(&output));
            assert!(message(&output).contains(want), "{arguments:?}: {}", message(&output));
        }
    }
    assert!(!at.join("elsewhere").exists());
}

#[test]
fn a_run_that_has_not_ended_is_refused_with_what_to_do() {
    let place = workplace();
    assert!(train(place.path(), &["--out", "run"]).status.success());
    fs::remove_file(place.path().join("run/scores.json")).expect("scores");
    let output = stepstone(place.path(), &["predict", "run", "data/sst2/dev.tsv"]);
    assert_eq!(output.status.code(), Some(66), "{}", message(&output));
    assert!(message(&output).contains("run is not finished"), "{}", message(&output));
    assert!(message(&output).contains("hint: run the command that trained it again"), "{}", message(&output));
}

/// Removes the best step, which can differ between instruction sets.
fn without_best_step(card: &str) -> String {
    let (before, after) = card.split_once("(best after ").expect("the best step");
    let (step, after) = after.split_once(')').expect("the best step");
    assert!(step.parse::<u64>().is_ok_and(|step| (1..=60).contains(&step)), "{step}");
    format!("{before}(best after N){after}")
}

/// The header of a safetensors file: 8 bytes of length, then JSON.
fn header(path: &Path) -> Value {
    let bytes = fs::read(path).expect("tensors");
    let length = u64::from_le_bytes(*bytes.first_chunk().expect("length")) as usize;
    serde_json::from_slice(&bytes[8..8 + length]).expect("header")
}

#[test]
fn an_export_is_what_transformers_expects_with_a_card_of_lineage_and_scores() {
    let place = workplace();
    let at = place.path();
    for (head, architecture) in [("hf", "BertForSequenceClassification"), ("linear", "BertModel")] {
        assert!(train(at, &["--head", head, "--out", head]).status.success(), "{head}");
        let dir = format!("{head}-exported");
        let output = stepstone(at, &["export", head, &dir]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{dir}\n"), "{}", message(&output));
        let dir = at.join(dir);

        let config: Value = serde_json::from_slice(&fs::read(dir.join("config.json")).expect("config")).expect("JSON");
        assert_eq!(config["architectures"], serde_json::json!([architecture]));
        assert_eq!(config["id2label"], serde_json::json!({"0": "0", "1": "1"}));
        assert_eq!(config["label2id"], serde_json::json!({"0": 0, "1": 1}));
        assert_eq!(
            fs::read(dir.join("vocab.txt")).expect("vocab"),
            fs::read(at.join("model/vocab.txt")).expect("vocab")
        );

        let weights = header(&dir.join("model.safetensors"));
        assert_eq!(weights["__metadata__"], serde_json::json!({"format": "pt"}), "{head}");
        assert!(weights["bert.embeddings.word_embeddings.weight"].is_object(), "{head}");
        // Tensors that this stage does not train are kept, because a later stage may train them.
        assert!(weights["bert.pooler.dense.weight"].is_object(), "{head}");
        let head_file = if head == "hf" { "model.safetensors" } else { "head.safetensors" };
        let tensors = header(&dir.join(head_file));
        assert_eq!(tensors["__metadata__"], serde_json::json!({"format": "pt"}), "{head}");
        assert_eq!(tensors["classifier.weight"]["shape"], serde_json::json!([2, 24]), "{head}");
        assert_eq!(dir.join("head.safetensors").exists(), head == "linear");
        assert_eq!(weights.get("classifier.weight").is_some(), head == "hf");

        let card = fs::read_to_string(dir.join("README.md")).expect("card");
        let record = fs::read_to_string(at.join(head).join("run.json")).expect("record");
        let record: Value = serde_json::from_str(&record).expect("JSON");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let digests = [&record["id"], &record["identity"]["encoder"], &record["identity"]["data"]].map(text);
        let shown = without_best_step(&card);
        let shown = digests.iter().zip(["RUN", "ENCODER", "DATA"]).fold(shown, |card, (digest, name)| {
            assert!(card.contains(digest.as_str()), "{head}: {name} {digest}");
            card.replace(digest.as_str(), name)
        });
        insta::assert_snapshot!(format!("card_of_head_{head}"), shown);

        let again = stepstone(at, &["export", head, &format!("{head}-exported")]);
        assert_eq!(again.status.code(), Some(73), "{}", message(&again));
        assert!(message(&again).contains("is not empty"), "{}", message(&again));
    }
}
