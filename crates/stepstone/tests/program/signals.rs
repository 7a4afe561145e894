//! Signals through the real program: to one process and to its whole group, once and twice.

use crate::study::{assert_same, count, events, log_lengths, processes, results, study_place};
use crate::workplace::{TRAIN, command, stepstone, workplace};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Ctrl-C, the end of a batch job, a closed terminal, and the warnings that a cluster can be told to send.
const ASKING: [Signal; 5] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::USR1, Signal::USR2];

/// The signals that a program started by this test can receive: under `nohup` SIGHUP is ignored, and the program leaves
/// it so.
fn asking() -> Vec<Signal> {
    let status = fs::read_to_string("/proc/self/status").expect("of this process");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a mask").trim();
    let ignored = u64::from_str_radix(ignored, 16).expect("a mask");
    let receives = |signal: &Signal| ignored >> (signal.as_raw() - 1) & 1 == 0;
    ASKING.into_iter().filter(receives).collect()
}

/// Each signal to runs that train and to processes that start.
const ROUNDS: u64 = 9;

/// A command with a process group of its own, which is killed at the end of the test.
struct Group {
    child: Child,
    pid: Pid,
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Group {
    fn start(command: &mut Command) -> Self {
        let child = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
        Self { pid: Pid::from_child(&child), child }
    }

    /// Waits until `holds`; a test that would wait without end fails.
    fn wait_until(&mut self, what: &str, holds: &mut dyn FnMut(&mut Child) -> bool) {
        let started = Instant::now();
        while !holds(&mut self.child) {
            assert!(started.elapsed() < Duration::from_mins(2), "in vain: {what}");
            sleep(Duration::from_millis(5));
        }
    }

    fn send(&self, signal: Signal) {
        kill_process_group(self.pid, signal).expect("signal");
    }

    /// What the command said, once it and every process of its group have ended.
    fn end(mut self) -> Output {
        self.wait_until("its end", &mut |child| child.try_wait().expect("a child").is_some());
        let pid = self.pid;
        self.wait_until("the end of its group", &mut |_| test_kill_process_group(pid).is_err());
        let mut stderr = Vec::new();
        let mut pipe = self.child.stderr.take().expect("a pipe");
        std::io::Read::read_to_end(&mut pipe, &mut stderr).expect("reads");
        Output { status: self.child.wait().expect("ends"), stdout: Vec::new(), stderr }
    }
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs of the study in `out` that have written to their logs since these had the lengths `before`.
fn busy(out: &Path, before: &std::collections::BTreeMap<std::path::PathBuf, usize>) -> usize {
    let now = log_lengths(out);
    now.iter().filter(|(run, lines)| **lines > before.get(*run).copied().unwrap_or(0)).count()
}

fn assert_nothing_failed(out: &Path, said: &str) {
    for run in fs::read_dir(out.join("runs")).into_iter().flatten().filter_map(Result::ok) {
        let failure = fs::read_to_string(run.path().join("failure.json")).unwrap_or_default();
        assert_eq!(failure, "", "{}: {said}", run.path().display());
    }
    assert_eq!(count(out, "failed"), 0, "{said}");
}

/// Every run starts once and goes on from its saved state after that: one that was not saved would start again.
#[test]
fn a_signal_to_the_whole_group_at_any_moment_saves_every_run_and_fails_none() {
    let place = study_place("max_steps = 800\nevaluations = 80");
    let whole = stepstone(place.path(), &["run", "study.toml", "--out", "whole"]);
    assert!(whole.status.success(), "{whole:?}");
    let out = place.path().join("asked");
    let arguments = ["run", "study.toml", "--out", "asked", "--slots", "2", "--resume-seconds", "0"];
    for round in 0..ROUNDS {
        let before = log_lengths(&out);
        let mut study = Group::start(&mut command(place.path(), &arguments));
        // Two rounds of three hit runs that train; the third hits processes that start, at one moment or another.
        let trains = round % 3 < 2;
        if trains {
            study.wait_until("two runs that train", &mut |_| busy(&out, &before) >= 2);
            sleep(Duration::from_millis(7 * round));
        } else {
            study.wait_until("a worker", &mut |child| !processes(child, "worker").is_empty());
            sleep(Duration::from_millis(13 * round));
        }
        let asking = asking();
        let signal = asking[usize::try_from(round).expect("few") % asking.len()];
        study.send(signal);
        let output = study.end();
        let said = format!("round {round}, {signal:?}: {}", message(&output));
        assert_eq!(output.status.code(), Some(75), "{said}");
        assert_nothing_failed(&out, &said);
    }
    let last = stepstone(place.path(), &arguments);
    assert!(last.status.success(), "{last:?}");
    let logged = events(&out);
    let started: Vec<_> = logged.iter().filter(|(_, event, _)| event == "start").map(|(run, ..)| run).collect();
    let runs: BTreeSet<_> = started.iter().collect();
    assert_eq!(started.len(), runs.len(), "a run started again: its state was not saved");
    assert!(logged.iter().filter(|(_, event, step)| event == "resume" && *step > 0).count() >= 6, "{logged:?}");
    assert_same(&results(&place.path().join("whole")), &results(&out));
}

#[test]
fn a_worker_without_a_watcher_saves_its_run_on_every_signal() {
    let place = study_place("max_steps = 2000\nevaluations = 200");
    let out = place.path().join("small");
    for signal in asking() {
        let before = log_lengths(&out);
        let mut worker = Group::start(&mut command(place.path(), &["worker", "study.toml", "--threads", "1"]));
        worker.wait_until("a run that trains", &mut |_| busy(&out, &before) >= 1);
        worker.send(signal);
        let output = worker.end();
        assert_eq!(output.status.code(), Some(75), "{signal:?}: {}", message(&output));
        assert_nothing_failed(&out, &message(&output));
    }
    assert_eq!((count(&out, "start"), count(&out, "resume")), (1, asking().len() - 1));
}

/// The processes that train are halted, so that nothing is saved before the second signal.
#[test]
fn a_second_ctrl_c_ends_everything_at_once_and_fails_nothing() {
    let place = study_place("max_steps = 1000\nevaluations = 20");
    let out = place.path().join("small");
    for (arguments, signals, code) in [
        (&["run", "study.toml", "--slots", "2"][..], [Signal::INT, Signal::INT], 130),
        (&["worker", "study.toml", "--threads", "1"], [Signal::INT, Signal::TERM], 143),
    ] {
        let before = log_lengths(&out);
        let mut study = Group::start(&mut command(place.path(), arguments));
        study.wait_until("a run that trains", &mut |_| busy(&out, &before) >= 1);
        let halted = processes(&study.child, "internal-job");
        halted.iter().for_each(|process| kill_process(*process, Signal::STOP).expect("signal"));
        kill_process(study.pid, signals[0]).expect("signal");
        study.wait_until("its end after a second signal", &mut |child| {
            // Sent again and again, because two signals in the same moment count as one.
            let _ = kill_process(Pid::from_child(child), signals[1]);
            child.try_wait().expect("a child").is_some()
        });
        for process in halted {
            let _ = kill_process(process, Signal::CONT); // one that is left ends by itself
        }
        let output = study.end();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", message(&output));
        assert_nothing_failed(&out, &message(&output));
    }
    let again = stepstone(place.path(), &["run", "study.toml"]);
    assert!(again.status.success(), "{again:?}");
}

/// Clusters warn first and end later; a wrapper may hand on a signal that the whole group has received already.
#[test]
fn warnings_and_copies_of_a_signal_are_no_second_ctrl_c() {
    let place = study_place("max_steps = 1000\nevaluations = 20");
    let out = place.path().join("small");
    let mut study = Group::start(&mut command(place.path(), &["run", "study.toml", "--slots", "2"]));
    study.wait_until("a run that trains", &mut |_| busy(&out, &log_lengths(Path::new("none"))) >= 1);
    let halted = processes(&study.child, "internal-job");
    halted.iter().for_each(|process| kill_process(*process, Signal::STOP).expect("signal"));
    for signal in [Signal::USR1, Signal::HUP, Signal::USR2, Signal::HUP, Signal::TERM, Signal::TERM, Signal::USR1] {
        study.send(signal);
    }
    sleep(Duration::from_millis(300)); // time for a wrong end
    halted.iter().for_each(|process| kill_process(*process, Signal::CONT).expect("it waits to be continued"));
    let output = study.end();
    assert_eq!(output.status.code(), Some(75), "{}", message(&output));
    assert_nothing_failed(&out, &message(&output));
    assert!(count(&out, "saved") > 0);
}

#[test]
fn train_saves_on_every_signal_and_goes_on() {
    let place = workplace();
    let long = ["--max-steps", "100000", "--threads", "1", "--out", "run"];
    let arguments: Vec<&str> = TRAIN.iter().copied().filter(|a| !["--max-steps", "60"].contains(a)).collect();
    let steps = || {
        let log = fs::read_to_string(place.path().join("run/log.jsonl")).unwrap_or_default();
        (log.matches(r#""event":"st"#).count() + log.matches(r#""event":"resume"#).count(), log)
    };
    for signal in asking() {
        let before = steps().0;
        let mut run = Group::start(command(place.path(), &arguments).args(long));
        run.wait_until("a step", &mut |_| steps().0 > before);
        run.send(signal);
        let output = run.end();
        assert_eq!(output.status.code(), Some(75), "{signal:?}: {}", message(&output));
    }
    let log = steps().1;
    assert_eq!(log.matches(r#""event":"start""#).count(), 1, "{log}");
    assert_eq!(log.matches(r#""event":"saved""#).count(), asking().len(), "{log}");
}

#[test]
fn under_nohup_a_closed_terminal_changes_nothing() {
    let place = workplace();
    let script = "trap '' HUP; exec \"$@\"";
    let mut shell = Command::new("sh");
    shell.current_dir(place.path()).args(["-c", script, "sh", env!("CARGO_BIN_EXE_stepstone")]);
    let long = ["--max-steps", "500", "--threads", "1", "--out", "run"];
    let arguments = TRAIN.iter().filter(|a| !["--max-steps", "60"].contains(a));
    let mut run = Group::start(shell.args(arguments).args(long));
    let log = place.path().join("run/log.jsonl");
    run.wait_until("a step", &mut |_| fs::read_to_string(&log).unwrap_or_default().contains("\"step\""));
    run.send(Signal::HUP);
    let output = run.end();
    assert!(output.status.success(), "{:?} {}", output.status.signal(), message(&output));
}

/// A limit on the size of files, for commands that train nothing.
#[test]
fn every_command_names_the_file_that_met_the_limit_on_file_sizes() {
    let place = workplace();
    assert!(crate::workplace::train(place.path(), &["--out", "run"]).status.success());
    let script = "ulimit -f 20; exec \"$@\"";
    let program = env!("CARGO_BIN_EXE_stepstone");
    let arguments = ["-c", script, "sh", program, "export", "run", "exported"];
    let output = Command::new("sh").args(arguments).current_dir(place.path()).output().expect("runs");
    assert_eq!(output.status.code(), Some(74), "{output:?}");
    assert!(message(&output).contains("cannot write exported/"), "{output:?}");
}
