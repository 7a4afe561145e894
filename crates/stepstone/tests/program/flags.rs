//! Flags as people type them: impossible numbers, names from other programs, and hints that name a flag.

use crate::study::{QUICK, study_place};
use crate::workplace::{TRAIN, stepstone, train, workplace};
use std::fs;
use std::path::Path;
use std::process::Output;

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_impossible_number_is_named_with_what_is_expected() {
    let place = study_place(QUICK);
    let count = "expected a whole number from 1 to 1024";
    let table: [(&[&str], u8, &str, &str); 12] = [
        (&["train", "--seed", "-1"], 64, "'-1' for '--seed", "expected a whole number from 0 to 18446744073709551615"),
        (&["train", "--learning-rate", "-1"], 78, "`learning_rate` is -1", "expected a positive number"),
        (&["train", "--batch-size", "-1"], 64, "'-1' for '--batch-size", ""),
        (&["train", "--threads", "0"], 64, "'0' for '--threads", count),
        (&["train", "--threads", "100000"], 64, "'100000' for '--threads", count),
        (&["train", "--resume-seconds", "-5"], 64, "'-5' for '--resume-seconds", "from 0 to 31622400"),
        (&["run", "study.toml", "--slots", "0"], 64, "'0' for '--slots", count),
        (&["plan", "study.toml", "--slots", "-1"], 64, "'-1' for '--slots", count),
        (&["worker", "study.toml", "--threads", "1e9"], 64, "'1e9' for '--threads", count),
        (&["predict", "run", "file", "--threads", "0"], 64, "'0' for '--threads", count),
        (&["tasks", "show", "rte", "--data", "data", "--example", "-1"], 64, "'-1' for '--example", "from 0 to"),
        (&["bench", "S", "--seconds", "-1"], 64, "--seconds -1", "give 0 or more seconds"),
    ];
    for (arguments, code, found, expected) in table {
        // A flag given twice is a different error.
        let mut words: Vec<&str> = arguments.to_vec();
        if arguments[0] == "train" {
            let rest = TRAIN[1..].chunks(2).filter(|pair| pair[0] != arguments[1]).flatten();
            words.extend(rest);
        }
        let output = stepstone(place.path(), &words);
        let message = message(&output);
        assert_eq!(output.status.code(), Some(i32::from(code)), "{arguments:?}: {message}");
        assert!(message.contains(found) && message.contains(expected), "{arguments:?}: {message}");
    }
    assert!(!place.path().join("small").exists() && !place.path().join("runs").exists(), "nothing was begun");
}

#[test]
fn a_flag_is_known_with_underscores_and_by_the_names_of_other_programs() {
    let place = workplace();
    let typed = "train --model_name_or_path model --task_name sst2 --data_dir data --output_dir run --max_seq_length 16 \
                 --max_steps 6 --lr=0.005";
    let output = stepstone(place.path(), &typed.split_whitespace().collect::<Vec<_>>());
    assert!(output.status.success(), "{}", message(&output));
    assert!(place.path().join("run/scores.json").is_file());
    for (typed, ours) in [("--per_device_train_batch_size", "--batch-size"), ("--epoch", "--epochs")] {
        let output = train(place.path(), &[typed, "8"]);
        assert_eq!(output.status.code(), Some(64), "{typed}");
        assert!(message(&output).contains(&format!("a similar argument exists: '{ours}'")), "{}", message(&output));
    }
}

#[test]
fn results_are_not_written_into_a_folder_that_holds_something_else() {
    let place = study_place(QUICK);
    let at = place.path();
    fs::write(at.join("o.csv"), "intermediate,seed,task,role,score\nnone,0,rte,target,0.5\nnone,1,rte,target,0.6\n")
        .expect("file");
    assert!(train(at, &["--out", "done"]).status.success());
    fs::create_dir(at.join("mine")).expect("folder");
    fs::write(at.join("mine/thesis.tex"), "x").expect("file");
    let train_into = [&TRAIN[..], &["--out", "mine"]].concat();
    let table: [&[&str]; 7] = [
        &train_into,
        &["run", "study.toml", "--out", "mine"],
        &["worker", "study.toml", "--out", "mine"],
        &["report", "study.toml", "--out", "mine"],
        &["analyze", "o.csv", "--out", "mine"],
        &["demo", "--out", "mine"],
        &["export", "done", "mine"],
    ];
    for arguments in table {
        let output = stepstone(at, arguments);
        assert_eq!(output.status.code(), Some(73), "{arguments:?}: {}", message(&output));
        assert!(message(&output).contains("mine"), "{arguments:?}: {}", message(&output));
        assert!(message(&output).contains("hint: "), "{arguments:?}: {}", message(&output));
        assert_eq!(fs::read_dir(at.join("mine")).expect("mine").count(), 1, "{arguments:?} wrote something");
    }
    for _ in ["new", "again"] {
        assert!(stepstone(at, &["analyze", "o.csv", "--out", "results"]).status.success());
    }
}

/// Every `--flag` that a text names, with its command: the command inside the same backquotes, or else the current one.
fn flags(text: &str, at_hand: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (number, part) in text.split('`').enumerate() {
        // Split at backquotes, every second part lies inside a pair of them.
        let quoted = (number % 2 == 1).then(|| part.strip_prefix("stepstone ")).flatten();
        let command = quoted.and_then(|part| part.split_whitespace().next()).unwrap_or(at_hand);
        for word in part.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| word.starts_with("--")) {
            found.push((command.to_owned(), word.to_owned()));
        }
    }
    found
}

#[test]
fn no_message_names_a_flag_that_its_command_lacks() {
    let place = study_place(QUICK);
    let at = place.path();
    let study = fs::read_to_string(at.join("study.toml")).expect("study");
    for (name, from, to) in [
        ("long", "max_length = 16", "max_length = 4000"),
        ("short", "max_length = 16", "max_length = 2"),
        ("rate", "learning_rate = 1e-3", "learning_rate = -1"),
        ("both", "max_steps = 30", "max_steps = 30\nepochs = 2"),
        ("data", "data = \"data\"", "data = \"nowhere\""),
        ("model", "model = \"model\"", "model = \"nowhere\""),
    ] {
        fs::write(at.join(format!("{name}.toml")), study.replace(from, to)).expect("study");
    }
    assert!(train(at, &["--out", "done"]).status.success());
    let mut checked = 0;
    let mut check = |arguments: &[&str]| {
        let output = stepstone(at, arguments);
        let text = message(&output);
        assert!(!output.status.success(), "{arguments:?} was to fail");
        assert_eq!(text.matches("error:").count(), 1, "{arguments:?}: {text}");
        for (command, flag) in flags(&text, arguments[0]) {
            let help = stepstone(at, &[&command, "--help"]);
            let help = String::from_utf8_lossy(&help.stdout).into_owned();
            assert!(help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")), "{arguments:?}: {text}");
            checked += 1;
        }
        text
    };
    for command in ["plan", "run", "status", "report", "worker"] {
        for study in ["long", "short", "rate", "both", "data", "model"] {
            let text = check(&[command, &format!("{study}.toml")]);
            // A value that is impossible in itself has its place; one that the encoder rules out has its table.
            let place = match study {
                "short" | "rate" | "both" => format!("{study}.toml:"),
                "long" => "in [recipe] of the study file".to_owned(),
                _ => continue,
            };
            assert!(text.contains(&place), "{command} {study}: {text}");
        }
    }
    for (more, hint) in [
        (&["--max-length", "4000"][..], "set it with --max-length"),
        (&["--max-length", "2"], "set it with --max-length"),
        (&["--max-length", "16", "--epochs", "0"], "set it with --epochs"),
        (&["--max-length", "16", "--learning-rate", "1e38", "--max-steps", "30"], "set it with --learning-rate"),
        (&["--max-length", "16", "--out", "done"], "choose another folder with --out"),
        (&["--max-length", "16", "--warmup-steps", "9", "--max-steps", "3"], "set it with --warmup-steps"),
    ] {
        let start = ["train", "--model", "model", "--task", "sst2", "--data", "data"];
        let text = check(&[&start[..], more].concat());
        assert!(text.contains(hint), "{more:?}: {text}");
    }
    check(&["predict", "nowhere", "data/sst2/dev.tsv"]);
    check(&["export", "nowhere", "elsewhere"]);
    check(&["tasks", "show", "sst2", "--data", "nowhere"]);
    check(&["tasks", "show", "sst2", "--data", "data", "--example", "1000"]);
    check(&["analyze", "nowhere.csv"]);
    assert!(checked >= 6, "the test finds flags in messages");
}

#[test]
fn a_study_sends_the_user_of_a_run_that_failed_to_the_table_of_the_value() {
    let place = study_place(&format!("{QUICK}\n[recipe.intermediate]\nlearning_rate = 1e38"));
    let ran = stepstone(place.path(), &["run", "study.toml", "--slots", "1"]);
    let status = stepstone(place.path(), &["status", "study.toml"]);
    for text in [message(&ran), String::from_utf8_lossy(&status.stdout).into_owned()] {
        assert!(text.contains("set `learning_rate` in [recipe.intermediate] of the study file"), "{text}");
        assert!(!text.contains("--learning-rate"), "{text}");
    }
}

#[test]
fn the_command_that_workers_start_says_what_is_wrong_with_its_input() {
    use std::process::{Command, Stdio};
    let start = |input: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stepstone"));
        command.arg("internal-job").stdin(input).output().expect("runs")
    };
    let folder = fs::File::open(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("folder");
    let table = [
        (Stdio::from(folder), 74, "cannot read standard input"),
        (Stdio::null(), 65, "standard input does not describe a run"),
    ];
    for (input, code, want) in table {
        let output = start(input);
        assert_eq!(output.status.code(), Some(code), "{want}: {}", message(&output));
        assert!(message(&output).contains(want), "{}", message(&output));
    }
}
