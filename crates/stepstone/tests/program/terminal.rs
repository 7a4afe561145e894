//! What comes from files, names and paths cannot drive the terminal: every command shows control characters.

use crate::workplace::{TRAIN, stepstone, workplace};
use std::fs;
use std::path::Path;
use std::process::Output;

/// A window title, a coloured word, a deleted character, a line written over, and text in the other direction.
const EVIL: &str = "\u{1b}]0;title\u{7}\u{1b}[31m\u{9b}2J\u{7f}\u{8}\u{202e}\u{2066}x";
/// The same in a string of TOML and of JSON.
const ESCAPED: &str = r"\u001b]0;title\u0007\u001b[31m\u009b2J\u007f\u0008\u202e\u2066x";

/// Both streams, which must hold no control character.
fn safe(name: &str, output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8(text).expect("text");
    let obeyed = |c: char| (c.is_control() && c != '\n' && c != '\t') || ('\u{202a}'..='\u{2069}').contains(&c);
    assert!(!text.contains(obeyed), "{name}: {text:?}");
    text
}

/// Both streams, which must hold no control character and show those of [`EVIL`].
fn shown(name: &str, output: &Output) -> String {
    let text = safe(name, output);
    assert!(text.contains("\\u001b]0;title\\u0007"), "{name} does not show it: {text}");
    text
}

/// A workplace whose texts, folders and study are evil, and the names of its folders of data, encoder and results.
fn evil_place() -> (tempfile::TempDir, [String; 3]) {
    let place = workplace();
    let folders = ["data", "model", "out"].map(|name| format!("{name}{EVIL}"));
    for (plain, evil) in ["data", "model"].iter().zip(&folders) {
        fs::rename(place.path().join(plain), place.path().join(evil)).expect("renames");
    }
    let train = place.path().join(&folders[0]).join("sst2/train.tsv");
    let text = fs::read_to_string(&train).expect("data");
    fs::write(&train, text.replacen("label\n", &format!("label\nwa {EVIL}\t0\n"), 1)).expect("data");
    let study = format!(
        "[study]\nname = \"s{ESCAPED}\"\nmodel = \"model{ESCAPED}\"\ndata = \"data{ESCAPED}\"\nrestarts = 2\n\
         [tasks]\ntarget = [\"sst2\"]\n[recipe]\nmax_length = 16\nmax_steps = 2\nevaluations = 1\n"
    );
    fs::write(place.path().join("study.toml"), study).expect("study");
    (place, folders)
}

#[test]
fn commands_of_one_run_show_control_characters_of_texts_paths_and_arguments() {
    let (place, [data, model, out]) = evil_place();
    let run = |arguments: &[&str]| stepstone(place.path(), arguments);
    let show = ["tasks", "show", "sst2", "--data", &data, "--model", &model];
    shown("tasks show", &run(&show));
    let json = shown("tasks show --json", &run(&[&show[..], &["--json"]].concat()));
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["texts"][0][0], format!("wa {EVIL}"), "JSON keeps the text");
    let train = |from: &str| {
        let mut arguments = TRAIN.map(str::to_owned);
        (arguments[2], arguments[6]) = (from.to_owned(), data.clone());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--out", &out]).collect();
        run(&arguments)
    };
    let trained = train(&model);
    assert!(trained.status.success(), "{trained:?}");
    shown("train", &trained);
    shown("train without an encoder", &train(EVIL));
    shown("predict", &run(&["predict", &out, &format!("{EVIL}.tsv")]));
    shown("export", &run(&["export", &out, &format!("exported{EVIL}")]));
    shown("no such task", &run(&["tasks", "show", EVIL, "--data", &data]));
    // clap leaves out what looks like a sequence of styles.
    safe("no such command", &run(&[EVIL]));
    safe("no such flag", &run(&["train", &format!("--{EVIL}")]));
    let dev = place.path().join(&data).join("sst2/dev.tsv");
    fs::write(&dev, format!("sentence\tlabel\na\t{EVIL}\n")).expect("data");
    shown("a bad label", &run(&show));
}

#[test]
fn commands_of_studies_and_analyses_show_control_characters_of_names_hosts_and_failures() {
    let (place, _) = evil_place();
    let run = |arguments: &[&str]| stepstone(place.path(), arguments);
    let plan = shown("plan --json", &run(&["plan", "study.toml", "--json"]));
    let plan: serde_json::Value = serde_json::from_str(plan.lines().next().expect("a line")).expect("JSON");
    let folder = |number: usize| {
        let id = plan["runs"][number]["id"].as_str().expect("id");
        place.path().join(format!("s{EVIL}/runs")).join(id)
    };
    fs::create_dir_all(folder(0).parent().expect("store")).expect("folder");
    fs::write(folder(0), "a file").expect("file");
    shown("run", &run(&["run", "study.toml"]));
    fs::remove_file(folder(0)).expect("file");
    write_failure_and_lease(&folder(0), &folder(1));
    let status = shown("status", &run(&["status", "study.toml"]));
    assert!(status.contains("failed   ") && status.contains("running  "), "{status}");
    let status = shown("status --json", &run(&["status", "study.toml", "--json"]));
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["failed"][0]["state"]["reason"], EVIL, "JSON keeps the text");
    shown("worker", &run(&["worker", &format!("{EVIL}.toml")]));
    let rows = format!("intermediate,seed,task,role,score\nnone,0,t{EVIL},target,0.5\nm{EVIL},0,t{EVIL},target,0.6\n");
    fs::write(place.path().join("o.csv"), &rows).expect("file");
    let analyzed = String::from_utf8(run(&["analyze", "o.csv"]).stdout).expect("text");
    assert!(
        !analyzed.contains(|c: char| c.is_control() && c != '\n') && !analyzed.contains('\u{202e}'),
        "{analyzed:?}"
    );
    shown("analyze --json", &run(&["analyze", "o.csv", "--json"]));
    fs::write(place.path().join("bad.csv"), rows.replace("0.6", EVIL)).expect("file");
    shown("analyze of a bad cell", &run(&["analyze", "bad.csv"]));
}

/// A failure whose reason and hint are evil, and a lease of another machine of an evil name.
fn write_failure_and_lease(failed: &Path, running: &Path) {
    fs::create_dir_all(failed).expect("folder");
    let failure = format!("{{\"format\": 1, \"reason\": \"{ESCAPED}\", \"hint\": \"{ESCAPED}\"}}");
    fs::write(failed.join("failure.json"), failure).expect("file");
    fs::remove_dir_all(running).expect("the trained run");
    fs::create_dir_all(running).expect("folder");
    let lease = format!(
        "{{\"host\": \"{ESCAPED}\", \"boot\": \"another\", \"worker\": {{\"pid\": 1, \"start\": 1}}, \"child\": null, \
         \"beats\": 1, \"released\": false}}"
    );
    fs::write(running.join("lease.1"), lease).expect("file");
}
