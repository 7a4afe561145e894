//! `stepstone status`: the progress of a study, and which runs failed.

use crate::commands::study::{StudyArgs, exit_code};
use crate::exit::{self, Failure};
use serde_json::{Value, json};
use std::io::{self, Write};
use stepstone_study::{Counts, EXPIRY, Leases, Plan, RunState, Tally};
use stepstone_train::{FailureRecord, Verified};

/// Show the progress of a study: counts, what is running and where, what failed and why.
///
/// With --verify, compare every file of every finished run in the study's store with the digests in its scores.json, and
/// list the damaged runs (exit code 65 if there are any); `stepstone run` makes those of its study again.
///
/// Example: stepstone status studies/tiny.toml
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    study: StudyArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Check the files of all finished runs in the store
    #[arg(long)]
    verify: bool,
}

const WHAT: &str = "cannot show the status of";

/// Writes the state to `out`. Exit code: 0 all done, 1 some failed, 75 work left; with `--verify`, 0 or 65.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    let plan = args.study.kept_plan(WHAT)?;
    if args.verify {
        plan.store().check_open().map_err(args.study.failure(WHAT))?;
        return verify(&plan, args.json, out);
    }
    let tally = Tally::read(&plan, &plan.store(), &mut Leases::new(EXPIRY)).map_err(args.study.failure(WHAT))?;
    let counts = tally.counts();
    let written =
        if args.json { writeln!(out, "{}", as_json(&plan, &tally)) } else { write_text(&plan, &tally, counts, out) };
    written.map_err(Failure::output)?;
    Ok(exit_code(counts))
}

/// Checks every finished run in the store, whichever study it belongs to.
fn verify(plan: &Plan, json: bool, out: &mut impl Write) -> Result<u8, Failure> {
    let store = plan.store();
    let unreadable = |error| Failure::study(format!("cannot check {}", plan.study.folders.store.display()), &error);
    let (mut whole, mut without, mut damaged) = (0, Vec::new(), Vec::new());
    for id in store.ids().map_err(unreadable)? {
        match store.verify(&id) {
            Ok(Some(Verified::Whole)) => whole += 1,
            Ok(Some(Verified::WithoutDigests)) => without.push(id),
            Ok(None) => {}
            Err(failure) => damaged.push((id, failure)),
        }
    }
    let code = if damaged.is_empty() { exit::OK } else { exit::DATA };
    let mut write = || {
        if json {
            let damaged: Vec<Value> =
                damaged.iter().map(|(id, failure)| json!({"id": id, "damage": failure})).collect();
            let schema = "stepstone.verify/1";
            return writeln!(
                out,
                "{}",
                json!({"schema": schema, "whole": whole, "damaged": damaged, "without_digests": without})
            );
        }
        for id in &without {
            writeln!(out, "no digests  {id}: written by an older version, so its files cannot be compared")?;
        }
        for (id, failure) in &damaged {
            write_failure("damaged", id, failure, out)?;
        }
        let (store, damaged, without) = (plan.study.folders.store.display(), damaged.len(), without.len());
        writeln!(out, "{store}: {whole} finished runs are whole, {damaged} are damaged, {without} have no digests")
    };
    write().map_err(Failure::output)?;
    Ok(code)
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
