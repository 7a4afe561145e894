//! `stepstone worker`: take ready runs of a study from its store until none is left.

use crate::commands::study::StudyArgs;
use crate::commands::{all_cores, train_job_command};
use crate::exit::{self, Failure};
use crate::stop;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use stepstone_study::{Ended, Event, Leases, Plan, STOP, Tally, WorkerReport, WorkerSettings, work};

/// Take ready runs of a study, one after the other, until none is left.
///
/// Any number of workers, on any machines that share the study's folder, serve one study at once. Runs that have failed
/// are left to `stepstone run`, which tries them again.
///
/// Example: stepstone worker studies/tiny.toml --threads 4
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(flatten)]
    study: StudyArgs,
    /// Threads of a run [default: all cores]; they never change a result
    #[arg(long)]
    threads: Option<usize>,
    /// Least seconds between two resume points of a run
    #[arg(long, default_value_t = 60)]
    resume_seconds: u64,
    /// Seconds without a heartbeat after which a run is taken from another machine
    #[arg(long, default_value_t = stepstone_study::EXPIRY.as_secs(), hide = true)]
    lease_seconds: u64,
    /// Started by `stepstone run`: reports as JSON lines, stops by standard input
    #[arg(long, hide = true)]
    watched: bool,
}

/// Works; says on standard error, or to its watcher, what it does.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    let worked = train(args, out);
    match worked {
        Err(failure) if args.watched => {
            report(out, &WorkerReport::Error(failure.to_string()));
            Ok(failure.code)
        }
        other => other,
    }
}

fn train(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    let plan = args.study.plan("cannot work on")?;
    let stop = stop::flag().map_err(Failure::system)?;
    if args.watched {
        follow(Arc::clone(&stop));
    }
    let lease_expiry = Duration::from_secs(args.lease_seconds.max(1));
    let settings = WorkerSettings {
        command: train_job_command().map_err(Failure::system)?,
        threads: args.threads.unwrap_or_else(all_cores),
        resume_seconds: args.resume_seconds,
        lease_expiry,
    };
    let ended = work(&plan, &settings, &stop, &mut |event| {
        if args.watched {
            report(out, &WorkerReport::Event(event));
        } else if let Some(line) = line(&plan, &event) {
            let _ = writeln!(io::stderr(), "{line}"); // nobody to tell is no reason to stop
        }
    });
    let ended =
        ended.map_err(|error| Failure::study(format!("cannot go on with {}", args.study.study.display()), &error))?;
    let counts = Tally::read(&plan, &plan.store(), &mut Leases::new(lease_expiry)).counts();
    if counts.failed > 0 && !args.watched {
        let _ = writeln!(io::stderr(), "{} runs have failed; `stepstone run` tries them again", counts.failed);
    }
    Ok(match ended {
        Ended::Stopped => exit::WORK_LEFT,
        Ended::Finished if counts.failed + counts.blocked > 0 => exit::FAILED,
        Ended::Finished => exit::OK,
    })
}

/// What happened, for people.
pub(crate) fn line(plan: &Plan, event: &Event) -> Option<String> {
    let title = |id: &String| {
        let run = plan.runs.iter().find(|run| run.record.id == *id);
        run.map_or_else(|| id.clone(), |run| plan.title(run))
    };
    Some(match event {
        Event::Started { id } => format!("{}: started ({id})", title(id)),
        Event::Done { id } => format!("{}: done", title(id)),
        Event::Failed { id, reason } => format!("{}: failed: {reason}", title(id)),
        Event::Stopped { id } => format!("{}: stopped, its state is saved", title(id)),
        Event::Lost { id } => format!("{}: taken over by another worker; nothing more is written", title(id)),
        Event::Progress { .. } => return None,
    })
}

fn report(out: &mut impl Write, report: &WorkerReport) {
    if let Ok(line) = serde_json::to_string(report) {
        let _ = writeln!(out, "{line}").and_then(|()| out.flush()); // a watcher that is gone closes our input, too
    }
}

/// Sets `stop` when the watcher asks for it, or is gone.
fn follow(stop: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if line == STOP {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}
