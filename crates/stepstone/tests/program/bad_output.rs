//! Output that cannot be written: a read-only folder, a full disk. Earlier results are kept.

use crate::workplace::{TRAIN, bound_by_permissions, command, set_mode, train, workplace};
use std::fs;
use std::process::{Command, Output};

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_read_only_output_folder_gets_73_and_is_named() {
    let place = workplace();
    let at = place.path();
    assert!(train(at, &["--out", "done"]).status.success());
    fs::create_dir(at.join("closed")).expect("folder");
    set_mode(at, 0o755); // a temporary folder is private to its owner
    set_mode(&at.join("closed"), 0o555);
    let train_into = |out| [&TRAIN[..], &["--out", out]].concat();
    let table = [
        (train_into("closed"), "cannot write closed/lease.1"),
        (train_into("closed/run"), "cannot create closed/run"),
        (vec!["export", "done", "closed/exported"], "cannot create closed/exported"),
        (vec!["export", "done", "closed"], "cannot write closed/"),
    ];
    for (arguments, want) in table {
        let Some(output) = bound_by_permissions(at, &arguments) else { return };
        let message = message(&output);
        assert_eq!(output.status.code(), Some(73), "{arguments:?}: {message}");
        assert!(message.contains(want), "{arguments:?}: {message}");
        assert!(message.contains("hint: "), "{arguments:?}: {message}");
        assert_eq!(fs::read_dir(at.join("closed")).expect("closed").count(), 0, "{arguments:?} left something behind");
    }
}

#[test]
fn an_output_that_is_in_the_way_gets_73() {
    let place = workplace();
    fs::write(place.path().join("file"), "x").expect("file");
    for out in ["file/run", "file", "/proc/run"] {
        let output = train(place.path(), &["--out", out]);
        assert_eq!(output.status.code(), Some(73), "{out}: {}", message(&output));
        assert!(message(&output).contains(out), "{out}: {}", message(&output));
    }
    assert_eq!(fs::read_to_string(place.path().join("file")).expect("file"), "x");
}

/// The log is /dev/full, which refuses every byte.
#[test]
fn a_full_disk_is_an_io_error_that_names_the_file() {
    let place = workplace();
    fs::create_dir(place.path().join("run")).expect("folder");
    std::os::unix::fs::symlink("/dev/full", place.path().join("run/log.jsonl")).expect("link");
    let output = train(place.path(), &["--out", "run"]);
    assert_eq!(output.status.code(), Some(74), "{output:?}");
    assert!(message(&output).contains("cannot write run/log.jsonl"), "{output:?}");
    fs::remove_file(place.path().join("run/log.jsonl")).expect("link");
    assert!(train(place.path(), &["--out", "run"]).status.success(), "goes on once there is room");
    for arguments in [vec!["predict", "run", "data/sst2/dev.tsv"], [&TRAIN[..], &["--out", "run"]].concat()] {
        let full = fs::File::options().write(true).open("/dev/full").expect("device");
        let output = command(place.path(), &arguments).stdout(full).output().expect("runs");
        assert_eq!(output.status.code(), Some(74), "{arguments:?}: {}", message(&output));
        assert!(message(&output).contains("cannot write the output"), "{arguments:?}: {}", message(&output));
    }
}

/// A disk that really fills up: it has room for one resume point of 590 KB, but not for a second one beside it.
#[test]
fn a_disk_that_fills_up_during_a_run_loses_nothing_already_written() {
    let place = workplace();
    let at = place.path();
    fs::create_dir(at.join("disk")).expect("folder");
    // 99 is no exit code of the program, so it marks a refused mount. The files are copied out, because the mount ends
    // with the process.
    let script = "mount -t tmpfs -o size=900k none disk || exit 99; \"$@\"; code=$?; cp -r disk kept; exit $code";
    let arguments = [&TRAIN[..], &["--out", "disk/run", "--resume-seconds", "0", "--threads", "1"]].concat();
    let output = Command::new("unshare")
        .current_dir(at)
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_stepstone")])
        .args(&arguments)
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(99) && !message(&output).starts_with("unshare") => output,
        other => {
            eprintln!("SKIPPED: cannot mount a small disk here: {other:?}");
            return;
        }
    };
    assert_eq!(output.status.code(), Some(74), "{}", message(&output));
    assert!(message(&output).contains("No space left on device"), "{}", message(&output));
    assert!(message(&output).contains("disk/run/"), "{}", message(&output));
    assert!(message(&output).contains("hint: "), "{}", message(&output));
    let again = train(at, &["--out", "kept/run", "--threads", "1"]);
    assert!(again.status.success(), "{}", message(&again));
    let log = fs::read_to_string(at.join("kept/run/log.jsonl")).expect("log");
    assert!(log.contains(r#""event":"resume","step":6"#), "goes on from what was saved: {log}");
    assert!(train(at, &["--out", "whole", "--threads", "1"]).status.success());
    let read = |run: &str| fs::read(at.join(run).join("scores.json")).expect("scores");
    assert_eq!(read("kept/run"), read("whole"));
}
