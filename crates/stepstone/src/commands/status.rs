//! `stepstone status`: the progress of a study, and which runs failed.

use crate::commands::study::{StudyArgs, exit_code};
use crate::exit::Failure;
use serde_json::{Value, json};
use std::io::{self, Write};
use stepstone_study::{Counts, EXPIRY, Leases, Plan, RunState, Tally};
use stepstone_train::FailureRecord;

/// Show the progress of a study: counts, what is running and where, what failed and why.
///
/// Example: stepstone status studies/tiny.toml
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    study: StudyArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Writes the state to `out`. Exit code: 0 all done, 1 some failed, 75 work left.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    let plan = args.study.kept_plan("cannot show the status of")?;
    let tally = Tally::read(&plan, &plan.store(), &mut Leases::new(EXPIRY));
    let counts = tally.counts();
    let written =
        if args.json { writeln!(out, "{}", as_json(&plan, &tally)) } else { write_text(&plan, &tally, counts, out) };
    written.map_err(Failure::output)?;
    Ok(exit_code(counts))
}

fn write_text(plan: &Plan, tally: &Tally<'_>, counts: Counts, out: &mut impl Write) -> io::Result<()> {
    let Counts { total, done, running, failed, blocked, waiting } = counts;
    writeln!(out, "study {} in {}", plan.study.name, plan.study.folders.out.display())?;
    writeln!(
        out,
        "{total} runs: {done} done, {running} running, {waiting} waiting, {failed} failed, {blocked} blocked"
    )?;
    for (run, state) in plan.runs.iter().zip(&tally.states) {
        match state {
            RunState::Running(holder) => {
                writeln!(out, "running  {} on {} (process {})", plan.title(run), holder.host, holder.worker.pid)?;
            }
            RunState::Failed(failure) => write_failure("failed", &plan.title(run), failure, out)?,
            RunState::Foreign(failure) => write_failure("foreign", &plan.title(run), failure, out)?,
            RunState::Damaged(failure) => write_failure("damaged", &plan.title(run), failure, out)?,
            RunState::Done(_) | RunState::Waiting { .. } => {}
        }
    }
    Ok(())
}

fn write_failure(word: &str, title: &str, failure: &FailureRecord, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{word:<8} {title}: {}", failure.reason)?;
    failure.hint.iter().try_for_each(|hint| writeln!(out, "         hint: {hint}"))
}

fn as_json(plan: &Plan, tally: &Tally<'_>) -> Value {
    let with = |pick: fn(&RunState) -> Option<Value>| {
        let rows = plan.runs.iter().zip(&tally.states);
        let row = |(run, state): (&stepstone_study::PlannedRun, &RunState)| {
            Some(json!({"id": run.record.id, "run": plan.title(run), "state": pick(state)?}))
        };
        rows.filter_map(row).collect::<Vec<Value>>()
    };
    let running = with(|state| match state {
        RunState::Running(holder) => Some(json!(holder)),
        RunState::Done(_)
        | RunState::Failed(_)
        | RunState::Damaged(_)
        | RunState::Foreign(_)
        | RunState::Waiting { .. } => None,
    });
    let failed = with(|state| match state {
        RunState::Failed(failure) | RunState::Damaged(failure) | RunState::Foreign(failure) => Some(json!(failure)),
        RunState::Done(_) | RunState::Running(_) | RunState::Waiting { .. } => None,
    });
    json!({
        "schema": "stepstone.status/1", "study": plan.study.name, "counts": tally.counts(), "running": running,
        "failed": failed,
    })
}
