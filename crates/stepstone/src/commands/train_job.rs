//! `stepstone internal-job`, which workers start: trains the run of a study that standard input describes.

use crate::exit::{self, Failure};
use crate::stop::Asked;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use stepstone_study::{Job, JobProgress, Report, STOP};
use stepstone_train::Outcome;

/// Minimum time between two progress reports.
const PAUSE: Duration = Duration::from_millis(500);

/// Trains the job read from standard input, and reports to `out`.
pub(crate) fn run(out: &mut impl Write) -> Result<u8, Failure> {
    // Ctrl-C reaches every process of the terminal. Without a handler, this process would end before it can save.
    let stop = Asked::of_child().map_err(Failure::system)?.wish.stop;
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(Failure::input)?;
    let job: Job = serde_json::from_str(&line)
        .map_err(|error| Failure::data("standard input does not describe a run".into(), error.to_string()))?;
    // Started after the first line is read. Both go through the buffer of `io::stdin`, so no line is lost in between.
    follow(Arc::clone(&stop));
    let mut last: Option<Instant> = None;
    let outcome = job.prepare().and_then(|run| {
        run.notes.iter().for_each(|note| write(out, &Report::Note(note.clone())));
        job.train(&run, &stop, &mut |progress| {
            if last.is_none_or(|last| last.elapsed() >= PAUSE) {
                last = Some(Instant::now());
                write(out, &Report::Progress(JobProgress::from(progress)));
            }
        })
    });
    match outcome {
        Ok(Outcome::Done(_)) => Ok(exit::OK),
        Ok(Outcome::Stopped { .. }) => Ok(exit::WORK_LEFT),
        Err(error) => {
            let failure = Failure::job(format!("run {} failed", job.id), &error, &job.request.layers);
            let every_run = error.stops_every_run();
            write(out, &Report::Error { reason: failure.reason(), hint: failure.hint(), every_run });
            Ok(failure.code)
        }
    }
}

/// Reports to the worker. Errors are ignored: a worker that no longer reads has ended, so our input ends as well, and
/// that ends this process.
fn write(out: &mut impl Write, report: &Report) {
    if let Ok(line) = serde_json::to_string(report) {
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// Sets `stop` when the worker asks for it. Ends the process at once when the worker is gone, so that nothing more is
/// written.
#[expect(clippy::exit, reason = "the main thread is inside a step, and another process may own the run already")]
fn follow(stop: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if line == STOP {
                stop.store(true, Ordering::Relaxed);
            }
        }
        std::process::exit(i32::from(exit::WORK_LEFT));
    });
}
