//! `stepstone analyze` through the real program: its output, and a clear error for every kind of bad input.

use crate::workplace::stepstone;
use std::fmt::Write;
use std::fs;
use std::process::Output;

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// Analyses `text` as observations.csv.
fn analyze(text: &str, more: &[&str]) -> (tempfile::TempDir, Output) {
    let place = tempfile::tempdir().expect("temporary folder");
    fs::write(place.path().join("observations.csv"), text).expect("writes");
    let output = stepstone(place.path(), &[&["analyze", "observations.csv"], more].concat());
    (place, output)
}

const HEADER: &str = "intermediate,seed,task,role,score\n";

/// Three start points on two targets and a probe, three restarts each.
fn study() -> String {
    let mut text = HEADER.to_owned();
    for (start, gain) in [("none", 0.0), ("mnli", 0.05), ("qqp", -0.03), ("sst2", 0.01)] {
        for (task, role, base) in [("rte", "target", 0.7), ("cb", "target", 0.8), ("cola", "probe", 0.5)] {
            for seed in 0..3 {
                // Restarts differ a little, or no cell would have a variance.
                let score = base + gain + 0.004 * f64::from(seed) + 0.001 * task.len() as f64;
                writeln!(text, "{start},{seed},{task},{role},{score:.4}").expect("a string takes every write");
            }
        }
    }
    text
}

#[test]
fn a_study_is_summarized_and_written_to_files() {
    let (place, output) = analyze(&study(), &["--out", "results"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let summary = out(&output);
    for words in ["mnli", "+5.0*", "Findings", "Best there", "Read: 36 observations", "written to results"] {
        assert!(summary.contains(words), "{words} is not in\n{summary}");
    }
    assert!(!summary.contains('\u{1b}'), "no colour into a pipe");
    assert!(summary.lines().all(|line| line.chars().count() <= 80), "{summary}");
    let mut names: Vec<String> = fs::read_dir(place.path().join("results"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort_unstable();
    let want = ["analysis.json", "averages.csv", "cells.csv", "correlations.csv", "report.md", "transfer.svg"];
    assert_eq!(names, want, "and no temporary file");

    let read = |name: &str| fs::read_to_string(place.path().join("results").join(name)).expect("reads");
    let json: serde_json::Value = serde_json::from_str(&read("analysis.json")).expect("JSON");
    assert_eq!(json["schema"], "stepstone.analysis/1");
    assert_eq!(json["cells"].as_array().expect("cells").len(), 9);
    assert_eq!(read("cells.csv").lines().count(), 1 + 2 * 9);
    assert!(read("report.md").starts_with("# Transfer\n\n## Findings\n\n- "));
}

#[test]
fn the_summary_of_a_collapsed_study_begins_with_a_warning() {
    let mut text = "intermediate,seed,task,role,score,n_distinct_pred\n".to_owned();
    for start in ["none", "mnli"] {
        // Two of three runs of each row: the warning needs more than half of all runs and of the baseline.
        for (seed, labels) in [1, 1, 2].into_iter().enumerate() {
            writeln!(text, "{start},{seed},rte,target,0.53,{labels}").expect("a string takes every write");
        }
    }
    let (place, output) = analyze(&text, &["--out", "results"]);
    let said = "Nothing can be said about these start points: 4 of 6 runs predict one label for";
    assert!(out(&output).starts_with(&format!("Transfer\n\n{said}\n")), "{}", out(&output));
    let read = |name: &str| fs::read_to_string(place.path().join("results").join(name)).expect("reads");
    assert!(read("report.md").starts_with(&format!("# Transfer\n\n## Findings\n\n- {said}")));
    let json = read("analysis.json");
    assert!(json.find(said) < json.find("\"options\""), "before every number: {json}");
}

#[test]
fn json_goes_to_stdout_and_depends_on_neither_row_order_nor_threads() {
    let (place, output) = analyze(&study(), &["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    assert_eq!(json["options"]["baseline"], "none");
    let mut lines: Vec<String> = study().lines().skip(1).map(str::to_owned).collect();
    lines.reverse();
    fs::write(place.path().join("reversed.csv"), format!("{HEADER}{}\n", lines.join("\n"))).expect("writes");
    for threads in ["1", "3"] {
        let again = std::process::Command::new(env!("CARGO_BIN_EXE_stepstone"))
            .current_dir(place.path())
            .env("RAYON_NUM_THREADS", threads)
            .args(["analyze", "reversed.csv", "--json"])
            .output()
            .expect("runs");
        assert_eq!(out(&again), out(&output), "{threads} threads");
    }
}

#[test]
fn options_change_what_they_name() {
    let json = |more: &[&str]| -> serde_json::Value {
        let (_place, output) = analyze(&study(), &[&["--json"], more].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{more:?}: {}", err(&output)))
    };
    let plain = json(&[]);
    let welch = json(&["--method", "welch"]);
    assert_eq!(welch["cells"][0]["keep"]["p"], plain["cells"][0]["keep"]["welch"]["p"]);
    assert_ne!(welch["cells"][0]["keep"]["p"], plain["cells"][0]["keep"]["p"]);
    let wide = |json: &serde_json::Value| json["cells"][0]["keep"]["hi"].as_f64().expect("a number");
    assert!(wide(&json(&["--alpha", "0.01"])) > wide(&plain));
    let other = json(&["--baseline", "qqp"]);
    assert_eq!(other["intermediates"], serde_json::json!(["mnli", "none", "sst2"]));
    assert_eq!(json(&["--mode", "drop", "--family", "acl2020"])["options"]["family"], "acl2020");
}

#[test]
fn several_studies_are_analysed_one_by_one() {
    let mut text = format!("study,encoder,{HEADER}");
    for (study, encoder) in [("a", "small"), ("a", "large"), ("b/../c", "small")] {
        for line in self::study().lines().skip(1) {
            writeln!(text, "{study},{encoder},{line}").expect("a string takes every write");
        }
    }
    let (place, output) = analyze(&text, &["--json", "--out", "results"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["schema"], "stepstone.analyses/1");
    let names: Vec<(&str, &str)> = json["analyses"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|analysis| (analysis["study"].as_str().expect("text"), analysis["encoder"].as_str().expect("text")))
        .collect();
    assert_eq!(names, [("a", "large"), ("a", "small"), ("b/../c", "small")]);
    for folder in ["01-a-large", "02-a-small", "03-b-..-c-small"] {
        assert!(place.path().join("results").join(folder).join("cells.csv").is_file(), "{folder}");
    }
}

#[test]
fn a_study_agrees_with_itself_as_csv_and_as_json() {
    let (place, output) = analyze(&study(), &["--out", "results", "--against", "observations.csv"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("Agreement of two studies"), "{}", out(&output));
    let against = |file: &str| stepstone(place.path(), &["analyze", "observations.csv", "--json", "--against", file]);
    let (csv, json) = (against("observations.csv"), against("results/analysis.json"));
    assert_eq!(out(&csv), out(&json));
    let found: serde_json::Value = serde_json::from_slice(&csv.stdout).expect("JSON");
    assert_eq!(found["schema"], "stepstone.agreement/1");
    assert_eq!(found["target"]["same_sign"], 1.0);
    fs::write(place.path().join("bad.json"), "{\"schema\": 1}").expect("writes");
    assert_eq!(against("bad.json").status.code(), Some(65));
    assert_eq!(against("nowhere.json").status.code(), Some(66));
}

/// Description and contents of the file, exit code, and texts on standard error or (for code 0) standard output.
type Case = (&'static str, &'static str, i32, &'static [&'static str]);

#[test]
fn every_bad_input_has_one_clear_error() {
    let cases: &[Case] = &[
        (
            "missing columns, with the nearest found",
            "Intermediate,seed,task,role,scores\nnone,0,rte,target,0.5\n",
            65,
            &[
                "missing columns `intermediate` (nearest found: `Intermediate`), `score` (nearest found: `scores`)",
                "hint: ",
            ],
        ),
        (
            "semicolons",
            "intermediate;seed;task;role;score\nnone;0;rte;target;0.5\n",
            65,
            &["missing columns", "the header seems to use ';' between columns"],
        ),
        (
            "exact duplicates",
            "intermediate,seed,task,role,score\nnone,0,rte,target,0.5\nnone,1,rte,target,0.6\nnone,0,rte,target,0.5\n",
            0,
            &["1 line repeats another in every column and counts once (line 4 = line 2)", "Read: 2 observations"],
        ),
        (
            "conflicting duplicates",
            "intermediate,seed,task,role,score\nnone,0,rte,target,0.5\nnone,1,rte,target,0.6\nnone,0,rte,target,0.51\n",
            65,
            &["observations.csv:4: conflicts with line 2", "task `rte`", "seed 0", "remove one of the two lines"],
        ),
        (
            "no baseline",
            "intermediate,seed,task,role,score\nmnli,0,rte,target,0.5\nmnli,1,rte,target,0.6\n",
            0,
            &["No run starts from the pretrained encoder (row `none`) on any task"],
        ),
        (
            "one restart",
            "intermediate,seed,task,role,score\nnone,0,rte,target,0.5\nmnli,0,rte,target,0.6\n",
            0,
            &["+10.0", "The smallest cell has 1 restart"],
        ),
        (
            "a task without variance",
            "intermediate,seed,task,role,score\nnone,0,rte,target,0.5\nnone,1,rte,target,0.5\nmnli,0,rte,target,0.5\nmnli,1,rte,target,0.5\n",
            0,
            &["0.0", "p-values adjusted for 0 target cells"],
        ),
        (
            "a score outside its metric's range",
            "intermediate,seed,task,role,metric,scale,score\nnone,0,rte,target,accuracy,100,0.5\nnone,1,rte,target,accuracy,100,1.2\n",
            65,
            &["observations.csv:3: score 1.2 of task `rte` is outside 0..1", "scale"],
        ),
        (
            "nan as text",
            "intermediate,seed,task,role,score\nnone,0,rte,target,nan\n",
            65,
            &[
                "observations.csv:2: column `score` holds `nan` in a run with status ok",
                "set `status` to how the run ended",
            ],
        ),
        (
            "nan in a failed run",
            "intermediate,seed,task,role,score,status\nnone,0,rte,target,nan,failed\nnone,1,rte,target,0.5,\n",
            0,
            &["Read: 2 observations, 1 with a score, 1 without"],
        ),
        ("an empty file", "", 65, &["observations.csv: the file is empty"]),
        ("a header alone", "intermediate,seed,task,role,score\n", 65, &["the file has a header but no observations"]),
        (
            "a file cut in mid-line",
            "intermediate,seed,task,role,score\nnone,0,rte,target,0.5\nnone,1,rt",
            65,
            &["observations.csv:3: the file ends in the middle of this line: 3 of 5 fields", "the file is incomplete"],
        ),
        (
            "a quoted field that never ends",
            "intermediate,seed,task,role,score\n\"none,0,rte,target,0.5\n",
            65,
            &["observations.csv:2: a quoted field opens"],
        ),
        (
            "a word for a number",
            "intermediate,seed,task,role,score\nnone,first,rte,target,0.5\n",
            65,
            &["observations.csv:2: column `seed` holds `first`, expected a whole number"],
        ),
        (
            "a task in two roles",
            "intermediate,seed,task,role,score\nnone,0,rte,target,0.5\nnone,0,rte,probe,0.5\n",
            65,
            &["task `rte` is a probe here and a target on line 2"],
        ),
        (
            "two scales",
            "intermediate,seed,task,role,score,scale\nnone,0,rte,target,0.5,100\nnone,1,rte,target,0.5,1\n",
            65,
            &["observations.csv:3: task `rte` has scale 1 here and 100 on line 2"],
        ),
        (
            "two directions",
            "intermediate,seed,task,role,score,higher_is_better\nnone,0,rte,target,0.5,true\nnone,1,rte,target,0.5,false\n",
            65,
            &["observations.csv:3: task `rte` has higher_is_better false here and true on line 2"],
        ),
    ];
    for (what, text, code, words) in cases {
        let (_place, output) = analyze(text, &[]);
        assert_eq!(output.status.code(), Some(*code), "{what}: {}{}", out(&output), err(&output));
        let said = if *code == 0 { out(&output) } else { err(&output) };
        // Wrapped lines of the summary are joined, so that whole sentences can be found.
        let said = said.replace("\n  ", " ").replace('\n', " ");
        words.iter().for_each(|words| assert!(said.contains(words), "{what}: `{words}` is not in\n{said}"));
        assert_eq!(output.stdout.is_empty(), *code != 0, "{what}");
        assert!(!said.contains("NaN"), "{what}: {said}");
    }
}

#[test]
fn names_with_html_stay_text_in_every_file() {
    let evil = "<img src=x onerror=alert(1)>";
    let text = study().replace("mnli", evil);
    let (place, output) = analyze(&text, &["--out", "results"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    for name in ["report.md", "transfer.svg"] {
        let written = fs::read_to_string(place.path().join("results").join(name)).expect("reads");
        assert!(!written.contains("<img") && written.contains("&lt;img"), "{name}");
    }
    assert!(fs::read_to_string(place.path().join("results/cells.csv")).expect("reads").contains(evil));
}

#[test]
fn wrong_usage_and_missing_files_have_their_exit_codes() {
    let place = tempfile::tempdir().expect("temporary folder");
    fs::write(place.path().join("o.csv"), study()).expect("writes");
    fs::write(place.path().join("taken"), "a file").expect("writes");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["analyze"], 64, "<FILE>"),
        (&["analyze", "o.csv", "--alpha", "1.5"], 64, "expected a number between 0 and 1"),
        (&["analyze", "o.csv", "--family", "all"], 64, "expected means, distinct or acl2020"),
        (&["analyze", "o.csv", "--method", "z"], 64, "expected moderated or welch"),
        (&["analyze", "o.csv", "--mode", "skip"], 64, "expected keep or drop"),
        (&["analyze", "o.csv", "--baseline", "roberta"], 64, "the column holds: mnli, none, qqp, sst2"),
        (&["analyze", "nowhere.csv"], 66, "nowhere.csv: No such file or directory"),
        (&["analyze", "nowhere.csv"], 66, "hint: `stepstone report STUDY` writes observations.csv"),
        (&["analyze", "."], 66, ".: this is a folder, expected a CSV file"),
        (&["analyze", "o.csv", "--out", "taken/below"], 73, "cannot write taken/below"),
    ];
    for (arguments, code, words) in cases {
        let output = stepstone(place.path(), arguments);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(words), "{arguments:?}: {}", err(&output));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_its_cause_once() {
    let place = tempfile::tempdir().expect("temporary folder");
    let said = err(&stepstone(place.path(), &["analyze", "nothere.csv"]));
    assert_eq!(said.matches("No such file or directory").count(), 1, "{said}");
    assert_eq!(said.lines().count(), 3, "what, cause and hint: {said}");
}

#[test]
fn the_example_in_the_help_works_and_the_exit_codes_are_in_the_help_of_the_program() {
    let place = tempfile::tempdir().expect("temporary folder");
    let help = out(&stepstone(place.path(), &["analyze", "--help"]));
    let example = help.lines().find_map(|line| line.trim().strip_prefix("Example: stepstone ")).expect("an example");
    fs::write(place.path().join("observations.csv"), study()).expect("writes");
    let arguments: Vec<&str> = example.split(' ').collect();
    assert_eq!(stepstone(place.path(), &arguments).status.code(), Some(0), "{example}");
    let help = out(&stepstone(place.path(), &["--help"]));
    assert!(help.contains("65  bad data\n") && help.contains("66  input missing\n"), "{help}");
}
