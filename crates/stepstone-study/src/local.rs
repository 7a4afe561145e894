//! Starts workers on this machine and watches them.

use crate::error::StudyError;
use crate::job::STOP;
use crate::wish::Wish;
use crate::worker::Event;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// How often signals and workers are checked.
const TICK: Duration = Duration::from_millis(100);

/// A line that a watched worker writes to its standard output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerReport {
    /// Something happened to a run.
    Event(Event),
    /// The worker cannot continue.
    Error(WorkerError),
}

/// Why a worker cannot continue, as the parts of an error message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerError {
    /// Its exit code.
    pub code: u8,
    /// What could not be done.
    pub what: String,
    /// Why, outermost cause first.
    pub causes: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Starts `slots` workers with `command`, forwards their events, and returns when the last one has ended, with the
/// first error of a worker that could not continue, if any. A wish to stop is handed on to the workers; a wish to end
/// kills them.
///
/// # Errors
/// If a worker cannot be started.
pub fn watch_workers(
    command: &[PathBuf],
    slots: usize,
    wish: &Wish,
    report: &mut dyn FnMut(Option<Event>),
) -> Result<Option<WorkerError>, StudyError> {
    let (sender, receiver) = mpsc::channel();
    let mut workers = Vec::new();
    for _ in 0..slots {
        if wish.is_stop() {
            break; // before the first worker, or between two: nothing is trained that would have to be saved
        }
        workers.push(start(command, sender.clone())?);
    }
    // Only the threads of `start` hold senders now, so the channel closes when the last worker has ended.
    drop(sender);
    let (mut error, mut told, mut killed) = (None, false, false);
    loop {
        match receiver.recv_timeout(TICK) {
            Ok(WorkerReport::Event(event)) => report(Some(event)),
            // All workers meet the same full disk or edited file, so the first error speaks for all.
            Ok(WorkerReport::Error(found)) => error = error.or(Some(found)),
            Err(RecvTimeoutError::Timeout) => report(None),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if wish.is_end() && !killed {
            killed = true;
            for (child, _) in &mut workers {
                let _ = child.kill(); // the end of its pipe then ends the process that trains for it
            }
        }
        if wish.is_stop() && !told {
            told = true;
            for (_, input) in &mut workers {
                let _ = writeln!(input, "{STOP}"); // a worker that has ended cannot be told
            }
        }
    }
    for (mut child, _) in workers {
        let _ = child.wait(); // it has closed its output, so it has ended or is about to
    }
    Ok(error)
}

fn start(command: &[PathBuf], sender: Sender<WorkerReport>) -> Result<(Child, ChildStdin), StudyError> {
    let failed = |source| StudyError::Spawn { id: "worker".into(), source };
    let missing = || failed(std::io::Error::other("its pipes are missing"));
    let (program, arguments) = command.split_first().ok_or_else(missing)?;
    // Standard error is inherited, so that the message of a worker that panics reaches the user.
    let child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(failed)?;
    let input = child.stdin.take().ok_or_else(missing)?;
    let output = child.stdout.take().ok_or_else(missing)?;
    thread::spawn(move || hand_on(BufReader::new(output), &sender));
    Ok((child, input))
}

/// Forwards a worker's reports. A killed worker cannot report that it drops its run, so this function does.
fn hand_on(output: impl BufRead, sender: &Sender<WorkerReport>) {
    let mut in_hand = None;
    for line in output.lines().map_while(Result::ok) {
        // Other lines come from libraries that print.
        let Ok(report) = serde_json::from_str(&line) else { continue };
        if let WorkerReport::Event(event) = &report {
            let goes_on = matches!(event, Event::Started { .. } | Event::Note { .. } | Event::Progress { .. });
            in_hand = goes_on.then(|| event.id().to_owned());
        }
        // A worker that can still explain itself was not killed.
        in_hand = in_hand.filter(|_| !matches!(report, WorkerReport::Error(_)));
        if sender.send(report).is_err() {
            return;
        }
    }
    if let Some(id) = in_hand {
        let _ = sender.send(WorkerReport::Event(Event::Orphaned { id })); // without a watcher, nobody needs it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_ends_with_a_run_in_hand_leaves_an_orphan_and_no_other_does() {
        let line = |event: Event| serde_json::to_string(&WorkerReport::Event(event)).expect("JSON") + "\n";
        let started = |id: &str| line(Event::Started { id: id.into() });
        let done = |id: &str| line(Event::Done { id: id.into() });
        let error = WorkerError { code: 74, what: "w".into(), causes: Vec::new(), hint: None };
        let error = serde_json::to_string(&WorkerReport::Error(error)).expect("JSON");
        let table = [
            (started("a"), Some("a")),
            (started("a") + "talk\n", Some("a")),
            (started("a") + &done("a"), None),
            (started("a") + &done("a") + &started("b"), Some("b")),
            (started("a") + &error, None),
            (String::new(), None),
        ];
        for (output, want) in table {
            let (sender, receiver) = mpsc::channel();
            hand_on(output.as_bytes(), &sender);
            drop(sender);
            let orphans: Vec<String> = receiver
                .iter()
                .filter_map(|report| match report {
                    WorkerReport::Event(Event::Orphaned { id }) => Some(id),
                    WorkerReport::Event(_) | WorkerReport::Error(_) => None,
                })
                .collect();
            assert_eq!(orphans, want.into_iter().collect::<Vec<_>>(), "{output}");
        }
    }
}
