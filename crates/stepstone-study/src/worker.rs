//! One worker: takes ready runs from the store, one after the other, until none is left.

use crate::error::{StudyError, causes};
use crate::job::{Job, JobProgress, Report, STOP};
use crate::lease::{BEATS, Lease, Leases};
use crate::plan::Plan;
use crate::state::{state, state_for_holder};
use crate::store::{RunState, Store};
use crate::wish::Wish;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use stepstone_train::TrainError;

/// How often a worker checks its process and its signals.
const TICK: Duration = Duration::from_millis(100);
/// How often a worker that waits for others checks the store.
// Each check reads a folder per open run, perhaps over a network.
const POLL: Duration = Duration::from_secs(1);
/// Bytes of a process's standard error that its failure may quote.
const QUOTED: usize = 2000;

/// Exit code of a process that has saved its state and left work.
pub const EXIT_WORK_LEFT: i32 = 75;
/// Exit code of a Rust program that panicked.
const EXIT_PANIC: i32 = 101;
/// Signals by which people and batch systems ask a process to end: SIGHUP, SIGINT, SIGUSR1, SIGUSR2, SIGTERM.
const ASKING: [i32; 5] = [1, 2, 10, 12, 15];
/// By this time, a signal to several processes has reached them all.
const SPREAD: Duration = Duration::from_secs(1);

/// Settings of a worker.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Program and arguments that train a [`Job`] given on standard input.
    pub command: Vec<PathBuf>,
    /// Threads of a run.
    pub threads: usize,
    /// Minimum seconds between two resume points of a run.
    pub resume_seconds: u64,
    /// See [`crate::EXPIRY`].
    pub lease_expiry: Duration,
}

/// What a worker does, as it happens. Runs are named by their ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Event {
    Started {
        id: String,
    },
    /// What the user should know about the run's encoder or data.
    Note {
        id: String,
        text: String,
    },
    Progress {
        id: String,
        progress: JobProgress,
    },
    Done {
        id: String,
    },
    Failed {
        id: String,
        reason: String,
        hint: Option<String>,
    },
    /// Stopped as asked; its resume point counts.
    Stopped {
        id: String,
    },
    /// Another worker has taken it over.
    Lost {
        id: String,
    },
    /// Its worker was killed.
    Orphaned {
        id: String,
    },
}

impl Event {
    /// Id of the run.
    pub fn id(&self) -> &str {
        match self {
            Self::Started { id }
            | Self::Note { id, .. }
            | Self::Progress { id, .. }
            | Self::Done { id }
            | Self::Failed { id, .. }
            | Self::Stopped { id }
            | Self::Lost { id }
            | Self::Orphaned { id } => id,
        }
    }
}

/// Why a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// No trainable run is left.
    Finished,
    /// It was asked to stop.
    Stopped,
}

/// A state of a run that this worker treats as final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    Done,
    Failed,
}

enum Next {
    Run(usize, Lease),
    /// A run whose folder takes no lease.
    Closed(usize, StudyError),
    Wait,
    Nothing,
}

/// Works on `plan` until nothing is left that can be trained, or the wish is to stop.
///
/// # Errors
/// If the study file has been edited, or the store cannot be written.
pub fn work(
    plan: &Plan,
    settings: &WorkerSettings,
    wish: &Wish,
    report: &mut dyn FnMut(Event),
) -> Result<Ended, StudyError> {
    let store = plan.store();
    store.create()?;
    let mut worker = Worker {
        plan,
        settings,
        wish,
        store,
        leases: Leases::new(settings.lease_expiry),
        settled: vec![None; plan.runs.len()],
    };
    while !wish.is_stop() {
        if !plan.study.is_unedited() {
            return Err(StudyError::Edited { path: plan.study.path.clone() });
        }
        match worker.next()? {
            Next::Run(run, lease) => worker.train(run, lease, report)?,
            Next::Closed(run, error) => {
                worker.settled[run] = Some(Settled::Failed);
                let (reason, hint) = (causes(&error).join(": "), error.hint());
                report(Event::Failed { id: plan.runs[run].record.id.clone(), reason, hint });
            }
            Next::Wait => worker.pause(),
            Next::Nothing => return Ok(Ended::Finished),
        }
    }
    Ok(Ended::Stopped)
}

struct Worker<'a> {
    plan: &'a Plan,
    settings: &'a WorkerSettings,
    wish: &'a Wish,
    store: Store,
    leases: Leases,
    settled: Vec<Option<Settled>>,
}

impl Worker<'_> {
    /// The first run that is ready and free.
    fn next(&mut self) -> Result<Next, StudyError> {
        let mut waiting = false;
        // Parents come before the runs that start from them, so one pass carries a failure over to all of those.
        for run in 0..self.plan.runs.len() {
            // Settled runs do not change any more, so their folders are not read again.
            if self.settled[run].is_some() {
                continue;
            }
            match self.plan.runs[run].parent.map(|parent| self.settled[parent]) {
                Some(None) => {
                    // The parent is not settled yet, so this run may become ready later.
                    waiting = true;
                    continue;
                }
                Some(Some(Settled::Failed)) => {
                    self.settled[run] = Some(Settled::Failed); // it has no model to start from
                    continue;
                }
                Some(Some(Settled::Done)) | None => {}
            }
            match self.take(run) {
                Ok(Some(lease)) => match self.parent_is_damaged(run) {
                    Ok(false) => return Ok(Next::Run(run, lease)),
                    // The parent counts as unsettled from here on, and the next pass has it made again.
                    Ok(true) => {
                        lease.release()?;
                        waiting = true;
                    }
                    Err(error) if error.stops_every_run() => return Err(error),
                    Err(error) => {
                        lease.release()?;
                        return Ok(Next::Closed(run, error));
                    }
                },
                Ok(None) => waiting |= self.settled[run].is_none(),
                Err(error) if error.stops_every_run() => return Err(error),
                Err(error) => return Ok(Next::Closed(run, error)),
            }
        }
        Ok(if waiting { Next::Wait } else { Next::Nothing })
    }

    fn take(&mut self, run: usize) -> Result<Option<Lease>, StudyError> {
        let id = &self.plan.runs[run].record.id;
        match state(self.plan, &self.store, run, &mut self.leases) {
            RunState::Done(_) => self.settled[run] = Some(Settled::Done),
            RunState::Failed(_) | RunState::Foreign(_) => self.settled[run] = Some(Settled::Failed),
            RunState::Running(_) => {}
            RunState::Waiting { .. } | RunState::Damaged(_) => {
                let Some(lease) = self.leases.take(self.store.folder(id).path())? else { return Ok(None) };
                // Another worker may have finished it between the check and the lease.
                match state_for_holder(self.plan, &self.store, run) {
                    RunState::Done(_) | RunState::Foreign(_) => lease.remove(),
                    RunState::Failed(_) | RunState::Damaged(_) | RunState::Running(_) | RunState::Waiting { .. } => {
                        return Ok(Some(lease));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Checks every file of the run that `run` starts from: a changed weight would move the scores of `run` without
    /// changing its id.
    fn parent_is_damaged(&mut self, run: usize) -> Result<bool, StudyError> {
        let Some(parent) = self.plan.runs[run].parent else { return Ok(false) };
        let id = &self.plan.runs[parent].record.id;
        let damaged = self.store.discard_if_damaged(id, &mut self.leases)?.is_some()
            || matches!(self.store.folder(id).check_model(), Err(TrainError::DamagedModel(_)));
        if damaged {
            self.settled[parent] = None;
        }
        Ok(damaged)
    }

    fn pause(&self) {
        let started = Instant::now();
        while started.elapsed() < POLL && !self.wish.is_stop() {
            thread::sleep(TICK);
        }
    }

    /// Trains one run in a process of its own and waits for it to end.
    fn train(&mut self, run: usize, lease: Lease, report: &mut dyn FnMut(Event)) -> Result<(), StudyError> {
        let id = self.plan.runs[run].record.id.clone();
        report(Event::Started { id: id.clone() });
        let mut process = self.start(run, &id, lease)?;
        let end = process.watch(self, &id, report)?;
        let lease = process.lease;
        let event = match end {
            End::Done => {
                lease.remove();
                self.settled[run] = Some(Settled::Done);
                Event::Done { id }
            }
            End::Stopped => {
                lease.release()?;
                Event::Stopped { id }
            }
            // The lease belongs to the new holder now, so there is nothing to release.
            End::Lost => Event::Lost { id },
            End::CannotGoOn { code, reason, hint } => {
                let _ = lease.release(); // if that cannot be written either, this process's end frees the run
                return Err(StudyError::Process { id, code, reason, hint });
            }
            End::Failed { reason, hint } => {
                // Written before the release, or another worker could take the run before it counts as failed.
                let written = self.store.folder(&id).fail(reason.clone(), hint.clone()).map_err(StudyError::from);
                let released = lease.release();
                // A folder that takes no failure.json costs only its run; the event tells the failure.
                if let Some(error) =
                    [written, released].into_iter().filter_map(Result::err).find(StudyError::stops_every_run)
                {
                    return Err(error);
                }
                self.settled[run] = Some(Settled::Failed);
                Event::Failed { id, reason, hint }
            }
        };
        report(event);
        Ok(())
    }

    fn start(&self, run: usize, id: &str, mut lease: Lease) -> Result<Process, StudyError> {
        let failed = |source| StudyError::Spawn { id: id.into(), source };
        let job = Job {
            id: id.into(),
            request: self.plan.request(&self.plan.runs[run], self.settings.threads),
            lease_folder: self.store.folder(id).path().into(),
            fence: lease.fence(),
            resume_seconds: self.settings.resume_seconds,
        };
        // The process waits for this line, so it writes nothing before its id is in the lease.
        let line = serde_json::to_string(&job).map_err(|error| failed(error.into()))?;
        let (program, arguments) = self.settings.command.split_first().ok_or_else(|| failed(no_program()))?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        // Recorded at once: if this worker is killed, the lease stays alive while the child still writes.
        lease.beat(Some(child.id()))?;
        let mut input = child.stdin.take();
        if let Some(input) = &mut input {
            let _ = writeln!(input, "{line}"); // a process that has died already is seen by its end
        }
        let (reports, stderr) = (read_reports(&mut child), read_end(&mut child));
        Ok(Process { child, input, reports, stderr, lease, error: None })
    }
}

fn no_program() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidInput, "no program to start")
}

/// How a process ended.
enum End {
    Done,
    Stopped,
    Lost,
    /// Every run would fail in the same way, so the worker ends.
    CannotGoOn {
        code: i32,
        reason: String,
        hint: Option<String>,
    },
    Failed {
        reason: String,
        hint: Option<String>,
    },
}

struct Process {
    child: Child,
    /// Kept open, because its end would tell the process that the worker is gone.
    input: Option<std::process::ChildStdin>,
    reports: Receiver<Report>,
    stderr: Option<JoinHandle<String>>,
    lease: Lease,
    error: Option<Told>,
}

/// A [`Report::Error`].
struct Told {
    reason: String,
    hint: Option<String>,
    every_run: bool,
}

impl Process {
    fn watch(&mut self, worker: &Worker<'_>, id: &str, report: &mut dyn FnMut(Event)) -> Result<End, StudyError> {
        let failed = |source| StudyError::Spawn { id: id.into(), source };
        let interval = worker.settings.lease_expiry / BEATS;
        let (mut last_beat, mut told, mut open) = (Instant::now(), false, true);
        loop {
            match self.reports.recv_timeout(TICK) {
                Ok(Report::Note(text)) => report(Event::Note { id: id.into(), text }),
                Ok(Report::Progress(progress)) => report(Event::Progress { id: id.into(), progress }),
                Ok(Report::Error { reason, hint, every_run }) => self.error = Some(Told { reason, hint, every_run }),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
            if !open {
                // The process has closed its output, so it has ended or is about to end.
                let status = self.child.wait().map_err(failed)?;
                return Ok(self.end(status, worker.wish));
            }
            if worker.wish.is_end() {
                let _ = self.child.kill(); // it may have ended by itself
                self.child.wait().map_err(failed)?;
                return Ok(End::Stopped);
            }
            if worker.wish.is_stop() && !told {
                told = true;
                if let Some(input) = &mut self.input {
                    let _ = writeln!(input, "{STOP}"); // as above
                }
            }
            if last_beat.elapsed() >= interval {
                last_beat = Instant::now();
                let beat = self.lease.beat(Some(self.child.id()));
                if !matches!(beat, Ok(true)) {
                    let _ = self.child.kill(); // it may have ended by itself
                    self.child.wait().map_err(failed)?;
                    // If the heartbeat cannot be written, others will take over every run of this worker, so it ends
                    // with that error.
                    return beat.map(|_| End::Lost);
                }
            }
        }
    }

    fn end(&mut self, status: ExitStatus, wish: &Wish) -> End {
        let quoted = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        match (status.code(), self.error.take()) {
            (Some(0), _) => End::Done,
            (Some(code), Some(Told { reason, hint, every_run: true })) => End::CannotGoOn { code, reason, hint },
            // The new holder answers for the run now, however this process ended.
            _ if !self.lease.is_current() => End::Lost,
            (Some(EXIT_WORK_LEFT), _) => End::Stopped,
            (_, Some(Told { reason, hint, .. })) => End::Failed { reason, hint },
            // Who asks for a stop records no failure that nobody explains: a bug will be met again.
            (_, None) if was_asked(status, wish) => End::Stopped,
            (_, None) => {
                let (reason, hint) = unexplained(status, quoted.trim());
                End::Failed { reason, hint }
            }
        }
    }
}

/// Whether a stop ended the process. A signal that goes round may reach the process before this worker.
fn was_asked(status: ExitStatus, wish: &Wish) -> bool {
    let started = Instant::now();
    while status.signal().is_some_and(|signal| ASKING.contains(&signal)) && started.elapsed() < SPREAD {
        if wish.is_stop() {
            return true;
        }
        thread::sleep(TICK);
    }
    wish.is_stop()
}

/// Reason and hint for a process that ended without reporting an error.
fn unexplained(status: ExitStatus, quoted: &str) -> (String, Option<String>) {
    let said = if quoted.is_empty() { String::new() } else { format!(": {quoted}") };
    match (status.code(), status.signal()) {
        (Some(EXIT_PANIC), _) => (format!("the process panicked{said}"), Some(BUG.to_owned())),
        (Some(code), _) => (format!("the process ended with exit code {code}{said}"), None),
        (None, Some(signal)) => {
            let (name, hint) = signal_cause(signal, quoted);
            (format!("the process was ended by signal {signal}{name}{said}"), hint.map(str::to_owned))
        }
        (None, None) => (format!("the process ended as {status}{said}"), None),
    }
}

const BUG: &str = "this is a bug in stepstone: please report it with this message";
const MEMORY: &str = "if memory ran out: train fewer runs at once, or lower batch_size or max_length";

/// The name of a signal and what to do about its usual cause. Numbers are Linux's on x86-64 and aarch64.
fn signal_cause(signal: i32, quoted: &str) -> (&'static str, Option<&'static str>) {
    match signal {
        4 => (" (SIGILL)", Some("this processor lacks an instruction: build stepstone on this machine")),
        // Rust aborts when an allocation is refused, and says so.
        6 if quoted.contains("memory allocation") => (" (SIGABRT)", Some(MEMORY)),
        6 => (" (SIGABRT)", Some(BUG)),
        7 => (" (SIGBUS)", Some("a file was truncated while in use, or its disk failed: check the encoder's folder")),
        9 => (" (SIGKILL)", Some(MEMORY)), // sent by the kernel when memory runs out, or by `kill -9`
        11 => (" (SIGSEGV)", Some(BUG)),
        signal if ASKING.contains(&signal) => (" (asked to end by another process)", None),
        3 => (" (SIGQUIT, sent by another process or by Ctrl-\\)", None),
        5 => (" (SIGTRAP)", Some(BUG)),
        8 => (" (SIGFPE)", Some(BUG)),
        13 => (" (SIGPIPE)", Some(BUG)),
        31 => (" (SIGSYS)", Some("a sandbox forbids a system call: allow it, or train outside the sandbox")),
        24 => (" (SIGXCPU)", Some("the limit on processor time was reached: raise it with `ulimit -t`")),
        25 => (" (SIGXFSZ)", Some("the limit on file sizes was reached: raise it with `ulimit -f`")),
        _ => ("", None),
    }
}

/// Reports of the process until it closes its output.
fn read_reports(child: &mut Child) -> Receiver<Report> {
    let (sender, receiver) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Other lines come from libraries that print.
                if let Ok(report) = serde_json::from_str(&line)
                    && sender.send(report).is_err()
                {
                    return;
                }
            }
        });
    }
    receiver
}

/// The last bytes that the process writes to standard error.
fn read_end(child: &mut Child) -> Option<JoinHandle<String>> {
    let mut output = child.stderr.take()?;
    Some(thread::spawn(move || {
        let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(read) = output.read(&mut buffer)
            && read > 0
        {
            // The pipe is read to its end although little is kept: a full pipe would block the process.
            kept.extend_from_slice(&buffer[..read]);
            kept.drain(..kept.len().saturating_sub(QUOTED));
        }
        String::from_utf8_lossy(&kept).into_owned()
    }))
}
