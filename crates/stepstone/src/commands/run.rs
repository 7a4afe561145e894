//! `stepstone run`: a whole study on this machine.

use crate::commands::report::write_results;
use crate::commands::study::StudyArgs;
use crate::commands::worker::line;
use crate::commands::{all_cores, this_program};
use crate::exit::{self, Failure};
use crate::progress::{StudyLine, duration};
use crate::stop;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use stepstone_study::{
    Cost, Counts, EXPIRY, Event, Leases, LocalEnd, Plan, RunState, Slots, StudyError, Tally, watch_workers,
};

/// Train every run of a study that is not done yet, and write its report.
///
/// Ctrl-C saves what is running and stops (exit code 75); the same command goes on. Runs that have failed are tried
/// again. Several of these, and `stepstone worker` on other machines, share the work.
///
/// Example: stepstone run studies/tiny.toml
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) study: StudyArgs,
    /// Runs at once [default: as many one-thread runs as cores, fewer if runs or memory are short]
    #[arg(long)]
    pub(crate) slots: Option<usize>,
    /// Least seconds between two resume points of a run
    #[arg(long, default_value_t = 60)]
    pub(crate) resume_seconds: u64,
    /// Seconds without a heartbeat after which a run is taken from another machine
    #[arg(long, default_value_t = EXPIRY.as_secs(), hide = true)]
    pub(crate) lease_seconds: u64,
}

/// Runs the study; progress goes to standard error, the report to `out`.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    let failure = |error: StudyError| Failure::study(format!("cannot run {}", args.study.study.display()), &error);
    let plan = args.study.plan("cannot run")?;
    let (store, mut leases) = (plan.store(), Leases::new(EXPIRY));
    store.create().map_err(failure)?;
    try_failed_again(&plan, &mut leases).map_err(failure)?;
    let mut tally = Tally::read(&plan, &store, &mut leases);
    let Counts { total, done, .. } = tally.counts();
    let mut end = LocalEnd::default();
    let stop = stop::flag().map_err(Failure::system)?;
    if done < total {
        let slots = Slots::choose(&plan, total - done, all_cores(), args.slots).map_err(failure)?;
        let cost = Cost::measure(&plan, &store, slots.threads).map_err(failure)?;
        say(&format!("{total} runs, {done} done; {}", promise(&plan, &tally, &cost, slots)));
        let command = worker_command(args, slots).map_err(Failure::system)?;
        end = watch(&plan, &mut tally, &cost, slots, &command, &stop).map_err(failure)?;
    }
    write_results(&plan, out)?;
    outcome(&plan, end, stop.load(Ordering::Relaxed))
}

/// What is left and how long it takes, about.
fn promise(plan: &Plan, tally: &Tally<'_>, cost: &Cost, slots: Slots) -> String {
    let done: Vec<bool> = tally.states.iter().map(|state| matches!(state, RunState::Done(_))).collect();
    let seconds = cost.wall_seconds(plan, &done, slots);
    let threads = if slots.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", slots.threads) };
    format!("about {} with {} at once, {threads} each", duration(seconds), slots.count)
}

/// A failed run waits again. A folder that this version must not touch stays as it is.
fn try_failed_again(plan: &Plan, leases: &mut Leases) -> Result<(), StudyError> {
    let store = plan.store();
    for run in &plan.runs {
        if matches!(store.state(&run.record.id, leases), RunState::Failed(_)) {
            store.folder(&run.record.id).forget_failure()?;
        }
    }
    Ok(())
}

fn watch(
    plan: &Plan,
    tally: &mut Tally<'_>,
    cost: &Cost,
    slots: Slots,
    command: &[PathBuf],
    stop: &AtomicBool,
) -> Result<LocalEnd, StudyError> {
    let (store, mut leases, mut progress) = (plan.store(), Leases::new(EXPIRY), StudyLine::new());
    let end = watch_workers(command, slots.count, stop, &mut |event| {
        if let Some(event) = event {
            tally.apply(&event, &store, &mut leases);
            if let Some(line) = line(plan, &event).filter(|_| !matches!(event, Event::Started { .. })) {
                progress.say(&line);
            }
        }
        progress.show(tally.counts(), tally.seconds_left(cost, slots));
    });
    progress.finish();
    end
}

fn worker_command(args: &Args, slots: Slots) -> io::Result<Vec<PathBuf>> {
    let mut command = vec![this_program()?, "worker".into()];
    command.extend(args.study.to_arguments());
    let numbers = [
        ("--threads", slots.threads as u64),
        ("--resume-seconds", args.resume_seconds),
        ("--lease-seconds", args.lease_seconds),
    ];
    command.extend(numbers.into_iter().flat_map(|(flag, value)| [flag.into(), value.to_string().into()]));
    command.push("--watched".into());
    Ok(command)
}

/// What is left to say once the workers have ended.
fn outcome(plan: &Plan, end: LocalEnd, stopped: bool) -> Result<u8, Failure> {
    if let Some(message) = end.error {
        let code = end.codes.into_iter().flatten().find(|code| ![0, 1, 75].contains(code)).unwrap_or(1);
        return Err(Failure::worker(code as u8, message));
    }
    let tally = Tally::read(plan, &plan.store(), &mut Leases::new(EXPIRY));
    let counts = tally.counts();
    for (run, state) in plan.runs.iter().zip(&tally.states) {
        if let RunState::Failed(failure) | RunState::Foreign(failure) = state {
            say(&format!("{} failed: {}", plan.title(run), failure.reason));
            failure.hint.iter().for_each(|hint| say(&format!("  hint: {hint}")));
            say(&format!("  folder: {}", plan.study.store.join(&run.record.id).display()));
        }
    }
    if counts.failed > 0 {
        let blocked = if counts.blocked == 0 { String::new() } else { format!(", {} wait for them", counts.blocked) };
        // What this version must not touch stays as it is until somebody follows the hint.
        let foreign = tally.states.iter().filter(|state| matches!(state, RunState::Foreign(_))).count();
        let again = match (counts.failed - foreign, foreign) {
            (_, 0) => "the same command tries them again".to_owned(),
            (0, _) => "the same command leaves them as they are".to_owned(),
            (_, _) => format!("the same command tries them again, but leaves {foreign} as they are"),
        };
        say(&format!("{} of {} runs failed{blocked}; {again}", counts.failed, counts.total));
    }
    let left = counts.waiting + counts.running;
    if left > 0 {
        let why = if stopped { "stopped" } else { "the workers have ended" };
        say(&format!("{why}; {left} runs are left; the same command goes on"));
    }
    Ok(if left > 0 {
        exit::WORK_LEFT
    } else if counts.failed > 0 {
        exit::FAILED
    } else {
        exit::OK
    })
}

fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}"); // nobody to tell is no reason to stop
}
