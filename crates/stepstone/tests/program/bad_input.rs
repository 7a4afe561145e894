//! The output for bad input: every complete message with its exit code, in snapshots.

use crate::workplace::{TRAIN, stepstone, train, workplace};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Output;

fn show(report: &mut String, name: &str, output: &Output) {
    let code = output.status.code().expect("ended by itself");
    assert!(output.stdout.is_empty(), "{name}: an error leaves standard output alone");
    let message = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    writeln!(report, "--- {name}: exit code {code}\n{message}").expect("a String takes every write");
}

/// Trains while `file` holds `bytes`, then restores the file.
fn train_with(place: &Path, file: &str, bytes: &[u8]) -> Output {
    let path = place.join(file);
    let kept = fs::read(&path).expect(file);
    fs::write(&path, bytes).expect(file);
    let output = train(place, &[]);
    fs::write(&path, kept).expect(file);
    output
}

#[test]
fn bad_data_files_are_answered_with_place_finding_expectation_and_remedy() {
    let place = workplace();
    let gzip = stepstone_fixtures::compressed("one_member.gz");
    let zstd = stepstone_fixtures::compressed("one_frame.zst");
    let utf16: Vec<u8> = "\u{feff}sentence\tlabel\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let table: [(&str, &[u8]); 11] = [
        ("a label that the task does not know", b"sentence\tlabel\nwa\t1\nwb\tmaybe\n"),
        ("an empty line inside a file", b"sentence\tlabel\nwa\t1\n\nwb\t0\n"),
        ("a row with a column too many", b"sentence\tlabel\nwa\tmore\t1\n"),
        ("another header", b"text\tlabel\nwa\t1\n"),
        ("invalid UTF-8", b"sentence\tlabel\nwa\t1\ncaf\xe9\t0\n"),
        ("UTF-16", &utf16),
        ("a git-lfs pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
        ("an HTML page", b"<!doctype html>\n<title>404</title>\n"),
        ("gzip that is cut off", &gzip[..gzip.len() / 2]),
        ("zstd that is cut off", &zstd[..zstd.len() / 2]),
        ("an empty file", b""),
    ];
    let mut report = String::new();
    for (name, bytes) in table {
        show(&mut report, name, &train_with(place.path(), "data/sst2/train.tsv", bytes));
    }
    let row = |label| format!("wa\t{label}\n");
    // Labels 0 and 1 are valid, so 13 of these rows are bad, three more than a message shows.
    let many: String = (0..15).map(row).collect();
    let many = train_with(place.path(), "data/sst2/dev.tsv", format!("sentence\tlabel\n{many}").as_bytes());
    show(&mut report, "more bad rows than are shown", &many);
    insta::assert_snapshot!(report);
}

#[test]
fn what_is_missing_or_misspelt_is_named_with_what_was_meant() {
    let place = workplace();
    let at = place.path();
    let with = |flag: &str, value: &str| {
        let mut arguments = TRAIN.to_vec();
        let place = arguments.iter().position(|argument| *argument == flag).expect(flag);
        arguments[place + 1] = value;
        stepstone(at, &arguments)
    };
    let mut report = String::new();
    show(&mut report, "no model", &with("--model", "nowhere"));
    show(&mut report, "no data folder", &with("--data", "nowhere"));
    show(&mut report, "no folder of the task", &with("--task", "rte"));
    show(&mut report, "an unknown task with a near name", &with("--task", "SST"));
    show(&mut report, "an unknown task", &with("--task", "parsing"));
    show(&mut report, "an unknown flag", &train(at, &["--epoch", "1"]));
    show(&mut report, "no command", &stepstone(at, &["trian"]));
    fs::rename(at.join("data/sst2/dev.tsv"), at.join("dev.tsv")).expect("moves");
    show(&mut report, "no dev file", &train(at, &[]));
    fs::rename(at.join("dev.tsv"), at.join("data/sst2/dev.tsv")).expect("moves");
    fs::rename(at.join("model/vocab.txt"), at.join("vocab.txt")).expect("moves");
    show(&mut report, "no tokenizer", &train(at, &[]));
    fs::write(at.join("model/tokenizer.json"), "version https://git-lfs.github.com/spec/v1\n").expect("file");
    show(&mut report, "a tokenizer that is none", &train(at, &[]));
    insta::assert_snapshot!(report.replace(&at.display().to_string(), "PLACE"));
}

#[test]
fn a_text_longer_than_the_positions_is_refused_until_the_user_says_where_to_cut() {
    let place = workplace();
    let long = format!("sentence\tlabel\n{}\t1\nwb\t0\n", "wa ".repeat(100));
    fs::write(place.path().join("data/sst2/train.tsv"), long).expect("data");
    let uncut: Vec<&str> = TRAIN.iter().copied().filter(|a| !["--max-length", "16"].contains(a)).collect();
    let mut report = String::new();
    show(&mut report, "the preset's max_length on an encoder of 40 positions", &stepstone(place.path(), &uncut));
    insta::assert_snapshot!(report);
    let cut = train(place.path(), &["--out", "run"]);
    assert!(cut.status.success(), "{cut:?}");
    let said = String::from_utf8_lossy(&cut.stderr).into_owned();
    assert!(said.contains("50.0 % of the training inputs are truncated to max_length"), "{said}");
    let log = fs::read_to_string(place.path().join("run/log.jsonl")).expect("log");
    assert!(log.contains(r#""truncated":0.5"#), "{log}");
}

#[test]
fn damaged_model_files_are_refused_with_the_file_named() {
    let place = workplace();
    let config = fs::read_to_string(place.path().join("model/config.json")).expect("config");
    let weights = fs::read(place.path().join("model/model.safetensors")).expect("weights");
    let fewer_layers = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
    let wider = config.replace("\"hidden_size\": 24", "\"hidden_size\": 27");
    let table: [(&str, &str, &[u8]); 5] = [
        ("weights that are cut off", "model/model.safetensors", &weights[..weights.len() / 2]),
        (
            "weights that are a git-lfs pointer",
            "model/model.safetensors",
            b"version https://git-lfs.github.com/spec/v1\n",
        ),
        ("a config with too few layers", "model/config.json", fewer_layers.as_bytes()),
        ("a config of another width", "model/config.json", wider.as_bytes()),
        ("a config that is not JSON", "model/config.json", b"hidden_size: 24\n"),
    ];
    let mut report = String::new();
    for (name, file, bytes) in table {
        show(&mut report, name, &train_with(place.path(), file, bytes));
    }
    insta::assert_snapshot!(report);
}
