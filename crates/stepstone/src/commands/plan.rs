//! `stepstone plan`: the runs of a study, which are done, and the time and memory the rest needs.

use crate::commands::all_cores;
use crate::commands::study::{StudyArgs, warning};
use crate::exit::{self, Failure};
use crate::flags;
use crate::progress::{duration, say};
use serde_json::{Value, json};
use std::io::{self, Write};
use stepstone_study::{Cost, CostSource, Counts, EXPIRY, Leases, Plan, PlannedTask, RunState, Slots, Tally, too_short};
use stepstone_train::Role;

/// Show every run of a study, what is already done, and how long the rest will take.
///
/// Example: stepstone plan studies/tiny.toml --resolved
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    study: StudyArgs,
    /// Show every value of each recipe and where it comes from
    #[arg(long)]
    resolved: bool,
    /// Number of concurrent runs [default: one per core; fewer if few are left or memory is short]
    #[arg(long, value_parser = flags::count())]
    slots: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Writes the plan to `out`.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    let plan = args.study.plan("cannot plan")?;
    let failure = |error| Failure::study(format!("cannot plan {}", args.study.study.display()), &error);
    let store = plan.store();
    let tally = Tally::read(&plan, &store, &mut Leases::new(EXPIRY)).map_err(failure)?;
    let counts = tally.counts();
    let slots = Slots::choose(&plan, counts.total - counts.done, all_cores(), args.slots).map_err(failure)?;
    let cost = Cost::measure(&plan, &store, slots.threads).map_err(failure)?;
    // Failed runs count as work that is left, because `stepstone run` tries them again.
    let done: Vec<bool> = tally.states.iter().map(|state| matches!(state, RunState::Done(_))).collect();
    let seconds = cost.wall_seconds(&plan, &done, slots);
    let written = if args.json {
        writeln!(out, "{}", as_json(&plan, &tally, &cost, slots, seconds))
    } else {
        write_table(&plan, &tally, &cost, out)
            .and_then(|()| write_cost(counts, &cost, slots, seconds, out))
            .and_then(|()| if args.resolved { write_resolved(&plan, out) } else { Ok(()) })
    };
    written.map_err(Failure::output)?;
    // Warnings go to standard error, so that scripts can read the table or the JSON on standard output.
    warning(&plan).iter().for_each(|warning| say(warning));
    Ok(exit::OK)
}

/// Writes one line per task and row group.
fn write_table(plan: &Plan, tally: &Tally<'_>, cost: &Cost, out: &mut impl Write) -> io::Result<()> {
    let width = plan.tasks.iter().map(|task| task.task.name.len()).max().unwrap_or(0).max(4);
    writeln!(
        out,
        "{:<12}  {:<width$}  {:>5}  {:>5}  {:>7}  {:>7}  {:>6}  TIME EACH",
        "ROLE", "TASK", "RUNS", "DONE", "TRAIN", "DEV", "STEPS"
    )?;
    for (number, task) in plan.tasks.iter().enumerate() {
        let runs = || plan.runs.iter().enumerate().filter(|(_, run)| run.task == number);
        let done = runs().filter(|(run, _)| matches!(tally.states[*run], RunState::Done(_))).count();
        writeln!(
            out,
            "{:<12}  {:<width$}  {:>5}  {done:>5}  {:>7}  {:>7}  {:>6}  {}",
            task.role.to_string(),
            task.task.name,
            runs().count(),
            task.n_train,
            task.n_dev,
            task.recipe.schedule.total_steps,
            duration(cost.seconds(task)),
        )?;
    }
    Ok(())
}

fn write_cost(counts: Counts, cost: &Cost, slots: Slots, seconds: f64, out: &mut impl Write) -> io::Result<()> {
    let source = match cost.source {
        CostSource::FinishedRuns(1) => "estimated from one finished run".to_owned(),
        CostSource::FinishedRuns(runs) => format!("estimated from {runs} finished runs"),
        CostSource::Calibration => "estimated from a few seconds of training".to_owned(),
    };
    let Counts { total, done, failed, blocked, .. } = counts;
    write!(out, "\n{total} runs, {done} done")?;
    if failed + blocked > 0 {
        write!(out, ", {failed} failed, {blocked} blocked by them")?;
    }
    if done == total {
        return writeln!(out);
    }
    let plural = if slots.threads == 1 { "" } else { "s" };
    writeln!(
        out,
        "; about {} left, {} at a time, {} thread{plural} each\n({source})",
        duration(seconds),
        slots.count,
        slots.threads
    )
}

/// Writes every value of each recipe with its source.
fn write_resolved(plan: &Plan, out: &mut impl Write) -> io::Result<()> {
    for task in &plan.tasks {
        writeln!(out, "\n{} as {}", task.task.name, task.role)?;
        for (key, value, source) in resolved(task) {
            writeln!(out, "  {key:<28} {value:<12} {source}")?;
        }
    }
    Ok(())
}

/// Key, value and source of every setting, and of the values derived from them.
fn resolved(task: &PlannedTask) -> Vec<(String, String, String)> {
    // Listed from its JSON, so that a value added to the recipe appears here without further code.
    let Value::Object(recipe) = json!(task.recipe) else { return Vec::new() };
    let text = |key: &str, value: &Value| match value {
        Value::Null => match key {
            // `null` would say nothing: an absent value means something else for each of these keys.
            "patience" => "none".to_owned(),
            "classifier_dropout" => "config.json".to_owned(),
            _ => "all".to_owned(),
        },
        // The warm-up is an enum, and the key column already says which of its cases this is.
        Value::Object(one) => one.values().next().map(ToString::to_string).unwrap_or_default(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let source = |key: &str| task.recipe.sources.get(key).map(ToString::to_string);
    let steps = || source("max_steps").or_else(|| source("epochs").map(|source| format!("{source} (from epochs)")));
    let row = |(key, value): (&String, &Value)| match key.as_str() {
        "total_steps" => (key.clone(), text(key, value), steps().unwrap_or_default()),
        "warmup" => {
            let (name, source) = match source("warmup_steps") {
                Some(source) => ("warmup_steps", source),
                None => ("warmup_ratio", source("warmup_ratio").unwrap_or_default()),
            };
            (name.to_owned(), text(key, value), source)
        }
        _ => (key.clone(), text(key, value), source(key).unwrap_or_else(|| "preset".into())),
    };
    recipe.iter().map(row).collect()
}

fn as_json(plan: &Plan, tally: &Tally<'_>, cost: &Cost, slots: Slots, seconds: f64) -> Value {
    let run = |(number, run): (usize, &stepstone_study::PlannedRun)| {
        let task = &plan.tasks[run.task];
        let state = match tally.states[number] {
            RunState::Done(_) => "done",
            RunState::Failed(_) => "failed",
            RunState::Running(_) => "running",
            RunState::Waiting { .. } if tally.is_blocked(number) => "blocked",
            RunState::Waiting { .. } => "waiting",
            RunState::Damaged(_) => "damaged",
            RunState::Foreign(_) => "foreign",
        };
        json!({
            "id": run.record.id, "task": task.task.name, "role": task.role, "intermediate": run.intermediate,
            "seed": run.seed, "parent": run.parent.map(|parent| &plan.runs[parent].record.id), "state": state,
            "seconds": cost.seconds(task),
        })
    };
    let task = |task: &PlannedTask| {
        let values = resolved(task).into_iter();
        let recipe: Vec<Value> =
            values.map(|(key, value, source)| json!({"key": key, "value": value, "source": source})).collect();
        json!({
            "task": task.task.name, "role": task.role, "n_train": task.n_train, "n_dev": task.n_dev,
            "peak_bytes": task.peak_bytes, "recipe": recipe,
        })
    };
    let short = |(task, steps, needed): (&PlannedTask, u64, u64)| json!({"task": task.task.name, "role": task.role, "steps": steps, "steps_needed": needed});
    json!({
        "schema": "stepstone.plan/1",
        "study": plan.study.name,
        "counts": tally.counts(),
        "slots": slots.count,
        "threads": slots.threads,
        "seconds_left": seconds,
        "too_few_steps": too_short(plan).into_iter().map(short).collect::<Vec<_>>(),
        "tasks": plan.tasks.iter().map(task).collect::<Vec<_>>(),
        "runs": plan.runs.iter().enumerate().map(run).collect::<Vec<_>>(),
        "intermediates": plan.tasks.iter().filter(|t| t.role == Role::Intermediate).map(|t| t.task.name).collect::<Vec<_>>(),
    })
}
