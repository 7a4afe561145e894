//! `stepstone run`: all runs of a study on this machine.

use crate::commands::report::write_results;
use crate::commands::study::{StudyArgs, exit_code, warning};
use crate::commands::worker::show;
use crate::commands::{all_cores, this_program};
use crate::exit::{self, Failure};
use crate::flags;
use crate::progress::{Board, duration, of_study, say};
use crate::stop::{self, Asked};
use crate::terminal::{self, Terminal};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use stepstone_study::{
    Cost, Counts, EXPIRY, Event, Leases, Plan, RunState, Slots, StudyError, Tally, Wish, WorkerError, causes,
    watch_workers,
};

/// Train all runs of a study that are not done yet, and write its report.
///
/// Ctrl-C, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 save the state of every running run and stop (exit code 75); the same command continues. A second Ctrl-C or SIGTERM ends everything at once. Failed runs are
/// tried again. `stepstone worker` on other machines can share the work.
///
/// Example: stepstone run studies/tiny.toml
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) study: StudyArgs,
    /// Number of concurrent runs [default: one per core; fewer if few are left or memory is short]
    #[arg(long, value_parser = flags::count())]
    pub(crate) slots: Option<usize>,
    /// Minimum seconds between two resume points of a run
    #[arg(long, default_value_t = 60, value_parser = flags::seconds())]
    pub(crate) resume_seconds: u64,
    /// Seconds without a heartbeat after which a run is taken over from another machine
    #[arg(long, default_value_t = EXPIRY.as_secs(), hide = true)]
    pub(crate) lease_seconds: u64,
}

/// Runs the study; progress goes to standard error, the report to `out`.
pub(crate) fn run(args: &Args, out: &mut Terminal<impl Write>) -> Result<u8, Failure> {
    let failure = |error: StudyError| Failure::study(format!("cannot run {}", args.study.study.display()), &error);
    let plan = args.study.plan_to_write("cannot run")?;
    let (store, mut leases) = (plan.store(), Leases::new(EXPIRY));
    // Created here, so that a folder that cannot be created is one error of `run` and not one of every worker.
    store.create().map_err(failure)?;
    // Only `run` does this: workers that retried what failed would repeat it without end.
    let kept = make_again(&plan, &mut leases).map_err(failure)?;
    // Read after that, so that runs to be tried again count as waiting.
    let mut tally = Tally::read(&plan, &store, &mut leases).map_err(failure)?;
    for event in &kept {
        tally.apply(event, &store, &mut leases);
    }
    let Counts { total, done, .. } = tally.counts();
    let mut error = None;
    let asked = Asked::of_parent().map_err(Failure::system)?;
    if done < total {
        // The slots come before the cost, because the cost is measured with the threads that a run will get.
        let slots = Slots::choose(&plan, total - done, all_cores(), args.slots).map_err(failure)?;
        let cost = Cost::measure(&plan, &store, slots.threads).map_err(failure)?;
        warning(&plan).iter().for_each(|warning| say(warning));
        say(&format!("{total} runs, {done} done; {}", promise(&plan, &tally, &cost, slots)));
        let command = worker_command(args, slots).map_err(Failure::system)?;
        error = watch(&plan, &mut tally, &cost, slots, &command, &asked.wish).map_err(failure)?;
    }
    if let Some(code) = asked.end() {
        return Ok(code);
    }
    // The report is written even if a worker failed, because the finished runs are still worth showing.
    let stopped = asked.wish.stop.load(Ordering::Relaxed);
    let written = if stopped {
        write_results(&plan, &mut terminal::nowhere()) // the matrix of a stopped study would be half empty
    } else {
        write_results(&plan, out)
    };
    if let Some(error) = error {
        return Err(error.into());
    }
    match written {
        // Whoever has moved the runs away to train them again keeps the earlier report until one of them is done.
        Err(failure) if failure.code == exit::NO_INPUT => say(&failure.reason()),
        other => other?,
    }
    // Read anew, because workers on other machines may have changed the store.
    tally.read_again(&store, &mut leases).map_err(failure)?;
    Ok(outcome(&plan, &tally, stopped))
}

/// The line that says how long the rest takes, and how many runs train at once.
fn promise(plan: &Plan, tally: &Tally<'_>, cost: &Cost, slots: Slots) -> String {
    let done: Vec<bool> = tally.states.iter().map(|state| matches!(state, RunState::Done(_))).collect();
    let seconds = cost.wall_seconds(plan, &done, slots);
    let threads = if slots.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", slots.threads) };
    format!("about {} left, {} at a time, {threads} each", duration(seconds), slots.count)
}

/// Makes failed runs wait again, and finished ones whose files are damaged. Returns those whose folders do not allow it.
/// Folders of a newer format are left alone.
fn make_again(plan: &Plan, leases: &mut Leases) -> Result<Vec<Event>, StudyError> {
    let (store, mut kept) = (plan.store(), Vec::new());
    for run in &plan.runs {
        let id = &run.record.id;
        let again = match store.state(id, leases) {
            RunState::Failed(_) => store.folder(id).forget_failure().map(|()| None).map_err(StudyError::from),
            RunState::Done(_) => store.discard_if_damaged(id, leases),
            // The next worker to take a damaged run makes it again.
            RunState::Damaged(_) | RunState::Foreign(_) | RunState::Running(_) | RunState::Waiting { .. } => Ok(None),
        };
        match again {
            Ok(None) => {}
            Ok(Some(damage)) => say(&format!("{} is made again: {}", plan.title(run), damage.reason)),
            Err(error) if error.stops_every_run() => return Err(error),
            Err(error) => {
                let reason = causes(&error).join(": ");
                kept.push(Event::Failed { id: id.clone(), reason, hint: error.hint() });
            }
        }
    }
    Ok(kept)
}

fn watch(
    plan: &Plan,
    tally: &mut Tally<'_>,
    cost: &Cost,
    slots: Slots,
    command: &[PathBuf],
    wish: &Wish,
) -> Result<Option<WorkerError>, StudyError> {
    // Workers started with `--watched` draw nothing, so this process shows the progress of all of them.
    let (store, mut leases, mut board) = (plan.store(), Leases::new(EXPIRY), Board::new());
    stop::announce(&wish.stop, board.speaker());
    watch_workers(command, slots.count, wish, &mut |event| {
        if let Some(event) = event {
            tally.apply(&event, &store, &mut leases);
            show(&mut board, plan, &event);
        }
        board.show_whole(false, || of_study(tally.counts(), tally.seconds_left(cost, slots)));
    })
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
    // Paths and numbers are arguments, so that a process list shows what each worker does.
    command.push("--watched".into());
    Ok(command)
}

/// Reports what is left after the workers have ended.
fn outcome(plan: &Plan, tally: &Tally<'_>, stopped: bool) -> u8 {
    let counts = tally.counts();
    for (run, state) in plan.runs.iter().zip(&tally.states) {
        if let RunState::Failed(failure) | RunState::Foreign(failure) = state {
            say(&format!("{} failed: {}", plan.title(run), failure.reason));
            failure.hint.iter().for_each(|hint| say(&format!("  hint: {hint}")));
            say(&format!("  folder: {}", plan.study.folders.store.join(&run.record.id).display()));
        }
    }
    if counts.failed > 0 {
        let blocked = if counts.blocked == 0 { String::new() } else { format!(" and block {} others", counts.blocked) };
        // Runs of a newer format are not failures of this study; they stay until the user follows the hint.
        let foreign = tally.states.iter().filter(|state| matches!(state, RunState::Foreign(_))).count();
        let again = match (counts.failed - foreign, foreign) {
            (_, 0) => "the same command tries them again".to_owned(),
            (0, _) => "the same command does not try them again: see the hints above".to_owned(),
            (_, _) => format!("the same command tries all but {foreign} again: see the hints above"),
        };
        say(&format!("{} of {} runs failed{blocked}; {again}", counts.failed, counts.total));
    }
    let left = counts.waiting + counts.running;
    if left > 0 {
        let why = if stopped { "stopped" } else { "all workers have ended" };
        say(&format!("{why}; {left} of {} runs left; run the same command to continue", counts.total));
    }
    exit_code(counts)
}
