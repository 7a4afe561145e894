//! `stepstone worker`: takes ready runs of a study from its store until none is left.

use crate::commands::study::StudyArgs;
use crate::commands::{all_cores, train_job_command};
use crate::exit::{self, Failure};
use crate::flags;
use crate::progress::{Board, of_job, say};
use crate::stop::{self, Asked};
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use stepstone_study::{Ended, Event, Leases, Plan, STOP, Tally, WorkerReport, WorkerSettings, work};

/// Train the runs of a study that are ready, one after the other, until none is left.
///
/// Any number of workers can train one study at the same time, on all machines that share its folder. Failed runs are
/// left to `stepstone run`, which tries them again.
///
/// Example: stepstone worker studies/tiny.toml --threads 4
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    study: StudyArgs,
    /// Number of threads per run; it does not change the result [default: all cores]
    #[arg(long, value_parser = flags::count())]
    threads: Option<usize>,
    /// Minimum seconds between two resume points of a run
    #[arg(long, default_value_t = 60, value_parser = flags::seconds())]
    resume_seconds: u64,
    /// Seconds without a heartbeat after which a run is taken over from another machine
    #[arg(long, default_value_t = stepstone_study::EXPIRY.as_secs(), hide = true)]
    lease_seconds: u64,
    /// Started by `stepstone run`: reports as JSON lines, stops by standard input
    #[arg(long, hide = true)]
    watched: bool,
}

/// Trains runs, and reports to standard error or to the watcher.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    let worked = train(args, out);
    match worked {
        Err(failure) if args.watched => {
            let code = failure.code;
            report(out, &WorkerReport::Error(failure.into()));
            Ok(code)
        }
        other => other,
    }
}

/// Listens for signals, and finds the plan.
fn begin(args: &Args) -> Result<(Asked, Plan), Failure> {
    let what = "cannot work on";
    if args.watched {
        // First of all, because Ctrl-C reaches this process as soon as it exists.
        let asked = Asked::of_child().map_err(Failure::system)?;
        follow(Arc::clone(&asked.wish.stop));
        // `stepstone run` has just stored the plan, so its workers need not read all the data again.
        return Ok((asked, args.study.kept_plan(what)?));
    }
    // Until there is something to save, a signal ends the command at once.
    let plan = args.study.plan_to_write(what)?;
    Ok((Asked::of_parent().map_err(Failure::system)?, plan))
}

fn train(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    let (asked, plan) = begin(args)?;
    // With 0 seconds, every lease would have expired as soon as it was taken.
    let lease_expiry = Duration::from_secs(args.lease_seconds.max(1));
    let settings = WorkerSettings {
        command: train_job_command().map_err(Failure::system)?,
        threads: args.threads.unwrap_or_else(all_cores),
        resume_seconds: args.resume_seconds,
        lease_expiry,
    };
    let mut board = Board::new();
    // The watcher answers Ctrl-C itself; a line from every worker would repeat it.
    if !args.watched {
        stop::announce(&asked.wish.stop, board.speaker());
    }
    // Some failures are in no file, because the folder of the run takes none.
    let mut failed = false;
    let ended = work(&plan, &settings, &asked.wish, &mut |event| {
        failed |= matches!(event, Event::Failed { .. });
        if args.watched {
            report(out, &WorkerReport::Event(event));
        } else {
            show(&mut board, &plan, &event);
        }
    });
    drop(board);
    let failure = |error| Failure::study(format!("cannot continue {}", args.study.study.display()), &error);
    let ended = ended.map_err(failure)?;
    if let Some(code) = asked.end() {
        return Ok(code);
    }
    // Counted in the store, because runs of other workers may have failed as well.
    let counts = Tally::read(&plan, &plan.store(), &mut Leases::new(lease_expiry)).map_err(failure)?.counts();
    if counts.failed > 0 && !args.watched {
        say(&format!("failed runs: {}; `stepstone run` tries them again", counts.failed));
    }
    Ok(match ended {
        Ended::Stopped => exit::WORK_LEFT,
        Ended::Finished if failed || counts.failed + counts.blocked > 0 => exit::FAILED,
        Ended::Finished => exit::OK,
    })
}

/// Shows an event: a running run as a live line, its end as a line that stays.
pub(crate) fn show(board: &mut Board, plan: &Plan, event: &Event) {
    let id = event.id();
    let run = plan.runs.iter().find(|run| run.record.id == id);
    let title = run.map_or_else(|| id.to_owned(), |run| plan.title(run));
    let end = match event {
        Event::Started { .. } => return board.start_run(id, &title),
        Event::Note { text, .. } => return board.note(&title, text),
        Event::Progress { progress, .. } => return board.show_run(id, &of_job(&title, progress)),
        Event::Done { .. } => "done".to_owned(),
        Event::Failed { reason, .. } => format!("failed: {reason}"),
        Event::Stopped { .. } => "stopped; it continues from its resume point".to_owned(),
        Event::Lost { .. } => "taken over by another worker; nothing more is written".to_owned(),
        Event::Orphaned { .. } => "its worker was killed; another one continues the run".to_owned(),
    };
    board.end_run(id);
    board.say(&format!("{title}: {end}"));
}

fn report(out: &mut impl Write, report: &WorkerReport) {
    if let Ok(line) = serde_json::to_string(report) {
        let _ = writeln!(out, "{line}").and_then(|()| out.flush()); // without a watcher our input ends, which stops us
    }
}

/// Sets `stop` when the watcher asks for it or is gone.
fn follow(stop: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        // Unlike a training process, a worker without its watcher may take its time: its lease keeps other workers
        // away.
        // The end of the input means that the watcher is gone, so leaving the loop stops the worker in both cases.
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if line == STOP {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}
