//! Whole studies through the real program: shared work, killed processes, failures, bad input.

use crate::workplace::{command, stepstone, workplace};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A workplace with rows for rte and cola in addition to sst2, and a study over all three.
pub(crate) fn study_place(recipe: &str) -> tempfile::TempDir {
    let place = workplace();
    let word = |i: usize| format!("w{}", char::from(b'a' + (i % 20) as u8));
    for (split, rows) in [("train", 64), ("dev", 40)] {
        let rte =
            |i: usize| format!("{i}\t{}\t{}\t{}\n", word(i), word(i * 7), ["entailment", "not_entailment"][i % 2]);
        let cola = |i: usize| format!("s\t{}\t\t{} {}\n", i % 2, word(i % 3), word(i));
        for (task, header, lines) in [
            ("rte", "index\tsentence1\tsentence2\tlabel\n", (0..rows).map(rte).collect::<String>()),
            ("cola", "", (0..rows).map(cola).collect::<String>()),
        ] {
            let folder = place.path().join("data").join(task);
            fs::create_dir_all(&folder).expect("folder");
            fs::write(folder.join(format!("{split}.tsv")), format!("{header}{lines}")).expect("data");
        }
    }
    let text = format!(
        "[study]\nname = \"small\"\nmodel = \"model\"\ndata = \"data\"\nrestarts = 2\nbaseline_restarts = 3\n\n\
         [tasks]\nintermediate = [\"sst2\"]\ntarget = [\"rte\"]\nprobe = [\"cola\"]\n\n\
         [recipe]\nmax_length = 16\nlearning_rate = 1e-3\n{recipe}\n"
    );
    fs::write(place.path().join("study.toml"), text).expect("study");
    place
}

// Short, because most of these tests train all twelve runs.
pub(crate) const QUICK: &str = "max_steps = 30\nevaluations = 3";
/// Number of runs in the study: 2 intermediates, 3 baseline restarts on 2 tasks, 2 restarts on 2 tasks after sst2.
pub(crate) const RUNS: usize = 12;

/// Contents of the files that must not depend on how the study was run, by path.
pub(crate) fn results(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = vec![out.join("observations.csv")];
    for run in fs::read_dir(out.join("runs")).expect("runs") {
        let run = run.expect("entry").path();
        let names = ["scores.json", "predictions.jsonl", "run.json", "model/model.safetensors", "model/config.json"];
        files.extend(names.iter().map(|name| run.join(name)).filter(|file| file.exists()));
    }
    let relative = |file: &PathBuf| file.strip_prefix(out).expect("inside").to_path_buf();
    files.iter().map(|file| (relative(file), fs::read(file).expect("file"))).collect()
}

pub(crate) fn assert_same(a: &BTreeMap<PathBuf, Vec<u8>>, b: &BTreeMap<PathBuf, Vec<u8>>) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (path, bytes) in a {
        assert!(bytes == &b[path], "{} differs", path.display());
    }
}

/// The events of all logs: run folder, event, step.
pub(crate) fn events(out: &Path) -> Vec<(PathBuf, String, u64)> {
    let mut all = Vec::new();
    for run in fs::read_dir(out.join("runs")).into_iter().flatten().filter_map(Result::ok) {
        let log = run.path().join("log.jsonl");
        // A log may be a link to /dev/full, and reading that never ends.
        let log = if log.is_file() { fs::read_to_string(log).unwrap_or_default() } else { String::new() };
        for line in log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
            let event = line["event"].as_str().unwrap_or_default().to_owned();
            all.push((run.path(), event, line["step"].as_u64().unwrap_or(0)));
        }
    }
    all
}

pub(crate) fn count(out: &Path, event: &str) -> usize {
    events(out).iter().filter(|(_, e, _)| e == event).count()
}

#[test]
fn a_study_leaves_observations_and_a_report_and_a_second_run_trains_nothing() {
    let place = study_place(QUICK);
    let first = stepstone(place.path(), &["run", "study.toml"]);
    assert!(first.status.success(), "{first:?}");
    let out = place.path().join("small");
    assert_eq!(count(&out, "start"), RUNS);
    let text = fs::read_to_string(out.join("observations.csv")).expect("observations");
    let primary = text.lines().filter(|line| line.contains(",true,")).count();
    assert!(text.starts_with("study,run_id,encoder,intermediate,seed,task,role,"), "{text}");
    assert!(primary >= RUNS, "{text}");
    for (row, times) in [(",sst2,0,rte,target,accuracy,", 1), (",none,2,cola,probe,matthews_correlation,", 1)] {
        assert_eq!(text.matches(row).count(), times, "{row} in {text}");
    }
    assert!(String::from_utf8_lossy(&first.stdout).contains("rte"), "{first:?}");
    for file in ["report.md", "transfer.svg"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let before = results(&out);
    let again = stepstone(place.path(), &["run", "study.toml"]);
    assert!(again.status.success(), "{again:?}");
    assert_eq!((count(&out, "start"), count(&out, "resume")), (RUNS, 0));
    assert_same(&before, &results(&out));
    let status = stepstone(place.path(), &["status", "study.toml"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("12 runs: 12 done"), "{status:?}");
}

#[test]
fn results_do_not_depend_on_the_number_of_concurrent_runs() {
    let place = study_place(QUICK);
    for (out, slots) in [("one", "1"), ("three", "3")] {
        let output = stepstone(place.path(), &["run", "study.toml", "--slots", slots, "--out", out]);
        assert!(output.status.success(), "{output:?}");
    }
    assert_same(&results(&place.path().join("one")), &results(&place.path().join("three")));
}

/// The phase in which a process was killed, from the last line of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Step,
    Evaluation,
    Write,
}

/// Number of lines in each run's log.
pub(crate) fn log_lengths(out: &Path) -> BTreeMap<PathBuf, usize> {
    let mut lengths = BTreeMap::new();
    events(out).into_iter().for_each(|(run, ..)| *lengths.entry(run).or_default() += 1);
    lengths
}

/// The phases of the runs that have written to their logs since `before` and have not ended.
fn phases(out: &Path, before: &BTreeMap<PathBuf, usize>) -> Vec<Phase> {
    let mut runs: BTreeMap<PathBuf, (String, usize)> = BTreeMap::new();
    events(out).into_iter().for_each(|(run, event, _)| {
        let (last, lines) = runs.entry(run).or_default();
        (*last, *lines) = (event, *lines + 1);
    });
    let phase = |event: &str| match event {
        "start" | "resume" | "step" | "evaluation" | "saved" => Some(Phase::Step),
        "evaluating" => Some(Phase::Evaluation),
        "saving" | "writing" => Some(Phase::Write),
        _ => None,
    };
    let busy = runs.iter().filter(|(run, (_, lines))| *lines > before.get(*run).copied().unwrap_or(0));
    busy.filter_map(|(_, (event, _))| phase(event)).collect()
}

fn start_study(place: &Path, out: &str) -> Child {
    let mut command = command(place, &["run", "study.toml", "--out", out, "--resume-seconds", "0"]);
    command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts")
}

/// Sends SIGKILL to the watcher, its workers and their children at once.
fn kill_group(study: &mut Child) {
    let group = rustix::process::Pid::from_child(study);
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    study.wait().expect("ends");
}

/// The processes of the study's group with this command, in no particular order.
pub(crate) fn processes(study: &Child, command: &str) -> Vec<rustix::process::Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("proc").filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let (stat, line) = (fs::read_to_string(entry.path().join("stat")), fs::read(entry.path().join("cmdline")));
        // Fields 3 to 5 of stat, after the name: state, parent, process group.
        let group =
            stat.unwrap_or_default().rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(2)?.parse().ok());
        let line = String::from_utf8_lossy(&line.unwrap_or_default()).replace('\0', " ");
        if group == Some(study.id()) && line.contains(&format!(" {command} ")) {
            found.extend(rustix::process::Pid::from_raw(pid));
        }
    }
    found
}

/// Sends SIGKILL to one process of the study's group with this command.
fn kill_one(study: &Child, command: &str) {
    if let Some(pid) = processes(study, command).first() {
        let _ = rustix::process::kill_process(*pid, rustix::process::Signal::KILL); // it may have just ended
    }
}

/// At least twenty kills, and at least three in each phase, of watchers, workers and children.
#[test]
fn a_study_killed_again_and_again_ends_with_the_bytes_of_an_uninterrupted_one() {
    let place = study_place("max_steps = 400\nevaluations = 20");
    // A dev split that takes a while to score, so that kills can hit an evaluation.
    let dev = place.path().join("data/rte/dev.tsv");
    let text = fs::read_to_string(&dev).expect("dev");
    let (header, rows) = text.split_once('\n').expect("header");
    fs::write(&dev, format!("{header}\n{}", rows.repeat(25))).expect("dev");
    let whole = stepstone(place.path(), &["run", "study.toml", "--out", "whole"]);
    assert!(whole.status.success(), "{whole:?}");
    let want = results(&place.path().join("whole"));

    let mut fell: BTreeMap<Phase, usize> = BTreeMap::new();
    let (mut kills, mut studies, mut resumed) = (0usize, 0, Vec::new());
    let enough = |fell: &BTreeMap<Phase, usize>, kills: usize| {
        kills >= 20
            && [Phase::Step, Phase::Evaluation, Phase::Write].iter().all(|p| fell.get(p).is_some_and(|n| *n >= 3))
    };
    while !enough(&fell, kills) || studies == 0 {
        assert!(studies < 8, "after {kills} kills: {fell:?}");
        let name = format!("killed-{studies}");
        let out = place.path().join(&name);
        loop {
            let before = log_lengths(&out);
            let mut study = start_study(place.path(), &name);
            let ended = if enough(&fell, kills) {
                Some(study.wait().expect("ends"))
            } else {
                // Waits until a process is in the phase with the fewest kills so far, then kills.
                let wanted = [Phase::Step, Phase::Evaluation, Phase::Write];
                let wanted = wanted.iter().min_by_key(|p| fell.get(p).copied().unwrap_or(0)).copied();
                let (started, mut ended) = (Instant::now(), None);
                while started.elapsed() < Duration::from_mins(1) {
                    ended = study.try_wait().expect("child");
                    // Workers and their processes need time to start. The wait varies, so that kills hit different
                    // points of a run.
                    let busy = started.elapsed() > Duration::from_millis(400 + 37 * (kills as u64 % 5));
                    if ended.is_some() || (busy && phases(&out, &before).iter().any(|phase| Some(*phase) == wanted)) {
                        break;
                    }
                }
                ended
            };
            if let Some(status) = ended {
                // A killed worker or child leaves unfinished work or a failed run; the same command continues.
                assert!([Some(0), Some(1), Some(75)].contains(&status.code()), "{status:?}");
                if status.success() {
                    break;
                }
                continue;
            }
            kills += 1;
            match kills % 5 {
                0 => kill_one(&study, "internal-job"),
                1 => kill_one(&study, "worker"),
                2 => kill_one(&study, "run"),
                _ => kill_group(&mut study),
            }
            phases(&out, &before).into_iter().for_each(|phase| *fell.entry(phase).or_default() += 1);
            // Whichever process was killed first, none of them may live on into the next round.
            kill_group(&mut study);
        }
        assert_same(&want, &results(&out));
        resumed.extend(events(&out).into_iter().filter(|(_, event, _)| event == "resume").map(|(_, _, step)| step));
        studies += 1;
    }
    assert!(resumed.len() >= 5 && resumed.iter().all(|step| *step > 0), "resumed at {resumed:?}");
    // Shown by --nocapture, for the record.
    eprintln!("{kills} kills over {studies} studies fell: {fell:?}; resumed at {resumed:?}");
}

#[test]
fn a_failed_intermediate_blocks_only_runs_that_start_from_it_and_is_tried_again_by_the_next_run() {
    // At this learning rate an update soon overflows, so both intermediates fail on any machine.
    let place = study_place(&format!("{QUICK}\n[recipe.intermediate]\nlearning_rate = 1e38"));
    let output = stepstone(place.path(), &["run", "study.toml"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("the loss is") && message.contains("2 of 12 runs failed and block 4 others"), "{message}");
    let out = place.path().join("small");
    assert_eq!(count(&out, "done"), 6);
    let text = fs::read_to_string(out.join("observations.csv")).expect("observations");
    assert_eq!((text.matches(",failed,").count(), text.matches(",missing,").count()), (2, 4), "{text}");
    let again = stepstone(place.path(), &["run", "study.toml"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert_eq!(count(&out, "start"), 6 + 2 * 2, "only what failed was tried again");
}

/// The machine of one worker stops: its processes are halted, and its heartbeat with them.
#[test]
fn a_run_whose_worker_goes_silent_is_taken_over_and_its_late_results_are_refused() {
    let place = study_place("max_steps = 3000\nevaluations = 30");
    let out = place.path().join("shared");
    // A lease expires after 2 seconds instead of 120, or the test would wait that long for the take-over.
    let arguments = ["worker", "study.toml", "--out", "shared", "--threads", "1", "--lease-seconds", "2"];
    let start = || {
        let mut command = command(place.path(), &[&arguments[..], &["--resume-seconds", "0"]].concat());
        command.process_group(0).stderr(Stdio::piped()).spawn().expect("starts")
    };
    let silent = start();
    let group = rustix::process::Pid::from_child(&silent);
    let signal = |signal| rustix::process::kill_process_group(group, signal).expect("signal");
    let started = Instant::now();
    while count(&out, "saved") == 0 {
        assert!(started.elapsed() < Duration::from_mins(1), "it never saved");
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(rustix::process::Signal::STOP);
    let others = [start(), start()];
    let taken_over = || {
        let runs = fs::read_dir(out.join("runs")).expect("runs").filter_map(Result::ok);
        runs.filter(|run| run.path().join("lease.2").exists()).count()
    };
    while taken_over() == 0 {
        assert!(started.elapsed() < Duration::from_mins(2), "nobody took the run over");
        std::thread::sleep(Duration::from_millis(50));
    }
    signal(rustix::process::Signal::CONT);
    let message = |child: Child| {
        let output = child.wait_with_output().expect("ends");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let late = message(silent);
    assert!(late.contains("taken over by another worker; nothing more is written"), "{late}");
    let done: Vec<usize> = others.map(message).iter().map(|text| text.matches(": done").count()).collect();
    let all = [vec![late.matches(": done").count()], done].concat();
    assert!(all.iter().all(|done| *done > 0) && all.iter().sum::<usize>() == RUNS, "{all:?}");
    assert!(stepstone(place.path(), &["report", "study.toml", "--out", "shared"]).status.success());
    let whole = stepstone(place.path(), &["run", "study.toml", "--out", "whole"]);
    assert!(whole.status.success(), "{whole:?}");
    assert_same(&results(&place.path().join("whole")), &results(&out));
}

#[test]
fn ctrl_c_saves_every_run_and_the_same_command_goes_on() {
    // Long enough that the signal arrives while runs are training.
    let place = study_place("max_steps = 2000\nevaluations = 2");
    let out = place.path().join("small");
    let mut study = command(place.path(), &["run", "study.toml"]);
    let study = study.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    while count(&out, "step") == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&study);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signal");
    let output = study.wait_with_output().expect("ends");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{message}");
    assert!(message.contains("run the same command to continue"), "{message}");
    assert!(message.contains("press Ctrl-C again to end at once"), "{message}");
    assert!(message.lines().all(|line| !line.contains(['\r', '\u{1b}'])), "plain lines in a file: {message:?}");
    assert!(count(&out, "saved") > 0);
    assert_eq!(stepstone(place.path(), &["status", "study.toml"]).status.code(), Some(75));
    assert!(stepstone(place.path(), &["run", "study.toml"]).status.success());
    assert!(events(&out).iter().any(|(_, event, step)| event == "resume" && *step > 0));
}

#[test]
fn a_killed_worker_is_named_and_the_others_finish_its_run() {
    let place = study_place("max_steps = 2000\nevaluations = 2\nmax_dev = 8");
    let mut study = command(place.path(), &["run", "study.toml", "--slots", "2"]);
    let study = study.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    // Waits until both workers train a run.
    let training = || events(&place.path().join("small")).into_iter().filter(|(_, event, _)| event == "step");
    while training().map(|(run, _, _)| run).collect::<std::collections::BTreeSet<_>>().len() < 2 {
        std::thread::sleep(Duration::from_millis(10));
    }
    kill_one(&study, "worker");
    let output = study.wait_with_output().expect("ends");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    assert_eq!(message.matches("its worker was killed").count(), 1, "{message}");
    assert!(message.matches(": done").count() >= RUNS, "{message}");
}

#[test]
fn bad_studies_get_their_documented_exit_code() {
    let place = study_place(QUICK);
    let path = place.path().join("study.toml");
    let text = fs::read_to_string(&path).expect("study");
    let edited = |from: &str, to: &str| {
        fs::write(&path, text.replace(from, to)).expect("study");
        let output = stepstone(place.path(), &["plan", "study.toml"]);
        fs::write(&path, &text).expect("study");
        output
    };
    fs::write(place.path().join("file"), "x").expect("file");
    let table = [
        ("no file", stepstone(place.path(), &["plan", "none.toml"]), 66, "none.toml does not exist"),
        ("folder", stepstone(place.path(), &["plan", "."]), 66, "name the file in it, such as ./study.toml"),
        ("too many", edited("restarts = 2", "restarts = 1000000000"), 78, "is 1000000000, expected 1 to 1000"),
        ("name of a path", edited("\"small\"", "\"../small\""), 78, "expected the name of a folder"),
        ("unknown key", edited("max_steps", "max_step"), 78, "study.toml:16:1: unknown key `max_step` in [recipe]"),
        ("unknown task", edited("\"rte\"", "\"rt\""), 78, "study.toml:10:11: there is no task `rt`"),
        ("impossible value", edited("= 16", "= 4000"), 78, "`max_length` is 4000"),
        ("no data", edited("\"data\"", "\"nowhere\""), 66, "nowhere does not exist"),
        ("no encoder", edited("\"model\"", "\"nowhere\""), 66, "nowhere does not exist"),
        ("out below a file", stepstone(place.path(), &["run", "study.toml", "--out", "file/x"]), 73, "file/x"),
        ("read-only disk", stepstone(place.path(), &["run", "study.toml", "--out", "/proc/x"]), 73, "/proc/x"),
        ("init twice", stepstone(place.path(), &["init", "."]), 73, "study.toml already exists"),
    ];
    for (name, output, code, part) in table {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{name}: {message}");
        assert!(message.contains(part), "{name}: {message}");
        assert!(message.lines().all(|line| !line.contains("panicked")), "{name}: {message}");
    }
}

#[test]
fn damaged_or_missing_files_are_made_again_and_a_newer_format_is_left_alone() {
    let place = study_place(QUICK);
    assert!(stepstone(place.path(), &["run", "study.toml"]).status.success());
    let out = place.path().join("small");
    let want = results(&out);
    let plan = stepstone(place.path(), &["plan", "study.toml", "--json"]);
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).expect("JSON");
    let id = |number: usize| plan["runs"][number]["id"].as_str().expect("id").to_owned();
    let scores = |number: usize| out.join("runs").join(id(number)).join("scores.json");
    // Runs 3 to 5 belong to the baseline, so nothing starts from them.
    let newer = fs::read(scores(4)).expect("scores");
    fs::write(scores(3), "{\"format\": 1, \"run_id").expect("file");
    fs::write(scores(4), "{\"format\": 3}").expect("file");
    fs::write(scores(5), "").expect("file");
    // A finished intermediate without its model, and a run that waits for it.
    fs::remove_dir_all(out.join("runs").join(id(0)).join("model")).expect("model");
    fs::remove_dir_all(out.join("runs").join(id(8))).expect("run");
    let status = stepstone(place.path(), &["status", "study.toml"]);
    let text = String::from_utf8_lossy(&status.stdout);
    assert_eq!(status.status.code(), Some(75), "{text}");
    assert!(text.contains("12 runs: 7 done, 0 running, 4 waiting, 1 failed") && text.contains("damaged  "), "{text}");
    let output = stepstone(place.path(), &["run", "study.toml"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("format 3, expected at most 2: use a newer stepstone"), "{message}");
    assert!(
        message.contains(&format!("runs/{}", id(4))) && message.contains("the same command does not try them again"),
        "{message}"
    );
    assert_eq!(fs::read(scores(4)).expect("scores"), b"{\"format\": 3}");
    assert_eq!(count(&out, "start"), RUNS + 4 - 1, "four runs were trained, one of them in a new folder");
    fs::write(scores(4), newer).expect("scores");
    assert!(stepstone(place.path(), &["run", "study.toml"]).status.success());
    assert_same(&want, &results(&out));
}

#[test]
fn a_study_that_replaces_the_results_of_another_says_so() {
    let place = study_place(QUICK);
    let text = fs::read_to_string(place.path().join("study.toml")).expect("study");
    fs::write(place.path().join("other.toml"), text.replace("= 30", "= 20")).expect("study");
    let report = |file: &str| {
        let output = stepstone(place.path(), &["report", file]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(report("study.toml"), "");
    let old = ["report.md", "transfer.svg"].map(|name| place.path().join("small").join(name));
    old.iter().for_each(|path| fs::write(path, "of an earlier report").expect("writes"));
    assert_eq!(report("study.toml"), "");
    assert!(old.iter().all(|path| path.exists()), "a study keeps its own report");
    let warning = report("other.toml");
    assert!(old.iter().all(|path| !path.exists()), "no run is done, so nothing replaces the report of the other study");
    assert!(warning.contains("held the results of") && warning.contains("study.toml"), "{warning}");
    assert_eq!(report("other.toml"), "");
}

#[test]
fn a_study_edited_while_it_runs_ends_its_workers_after_their_current_run() {
    let place = study_place("max_steps = 1500\nevaluations = 2");
    let out = place.path().join("small");
    let mut study = command(place.path(), &["run", "study.toml", "--slots", "1"]);
    let study = study.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    while count(&out, "step") == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let path = place.path().join("study.toml");
    let text = fs::read_to_string(&path).expect("study");
    fs::write(&path, text.replace("1500", "1400")).expect("study");
    let output = study.wait_with_output().expect("ends");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{message}");
    assert!(message.contains("has been edited since"), "{message}");
    assert_eq!(count(&out, "done"), 1, "the run in hand was finished and kept");
}

/// A full disk: a log is /dev/full, which refuses every byte.
#[test]
fn a_full_disk_stops_the_study_with_74_and_loses_nothing() {
    let place = study_place(QUICK);
    let plan = stepstone(place.path(), &["plan", "study.toml", "--json"]);
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).expect("JSON");
    let fifth = place.path().join("small/runs").join(plan["runs"][4]["id"].as_str().expect("id"));
    fs::create_dir_all(&fifth).expect("folder");
    std::os::unix::fs::symlink("/dev/full", fifth.join("log.jsonl")).expect("link");
    let output = stepstone(place.path(), &["run", "study.toml", "--slots", "1"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{message}");
    assert_eq!(message.matches("log.jsonl").count(), 1, "said once: {message}");
    assert_eq!(count(&place.path().join("small"), "done"), 4);
    fs::remove_file(fifth.join("log.jsonl")).expect("link");
    assert!(stepstone(place.path(), &["run", "study.toml"]).status.success());
}

#[test]
fn a_run_that_needs_more_memory_than_there_is_is_refused_before_it_starts() {
    let place = study_place(QUICK);
    let program = env!("CARGO_BIN_EXE_stepstone");
    // 60,000 KiB of address space are less than any run needs.
    let script = format!("ulimit -v 60000; exec {program} run study.toml");
    let output = Command::new("sh").args(["-c", &script]).current_dir(place.path()).output().expect("runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(71), "{message}");
    assert!(message.contains("MiB are available"), "{message}");
}

#[test]
fn the_demo_runs_the_whole_path_and_says_that_it_shows_no_transfer() {
    let place = tempfile::tempdir().expect("folder");
    let output = stepstone(place.path(), &["demo"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    assert!(message.contains("This demo shows no transfer"), "{message}");
    assert!(place.path().join("stepstone-demo/demo/observations.csv").is_file());
    let again = stepstone(place.path(), &["demo"]);
    assert!(again.status.success(), "a second demo shows the same: {again:?}");
    fs::create_dir(place.path().join("mine")).expect("folder");
    fs::write(place.path().join("mine/file"), "x").expect("file");
    let mine = stepstone(place.path(), &["demo", "--out", "mine"]);
    assert_eq!(mine.status.code(), Some(73), "somebody's folder is left alone: {mine:?}");
}
