//! Influence of degenerate runs on the numbers, above all on deltas that rest on a failed baseline run.

use std::collections::BTreeMap;

use super::context::Context;
use crate::baseline::TaskSummary;
use crate::cells::Cell;
use crate::finding::{Figure, Finding, Topic};
use crate::format::{count, list, p_value, plain};
use crate::options::Mode;

/// Points from which a delta counts as large.
// More than restarts of most tasks spread, so that a delta of this size would be noticed and cited.
const LARGE: f64 = 5.0;

pub(super) fn findings(context: &Context<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = totals(context).into_iter().collect();
    found.extend(failed_baselines(context));
    found.extend(breaking(context));
    found.extend(decided(context));
    found
}

fn finding(figure: Figure, text: String) -> Finding {
    Finding { topic: Topic::Degenerate, text, figure }
}

/// How many runs are degenerate, by which rule, and from which start point most.
pub(super) fn totals(context: &Context<'_>) -> Option<Finding> {
    let degenerate = &context.analysis.degenerate;
    if degenerate.n == 0 {
        return None;
    }
    let reasons: Vec<String> = degenerate.by_reason.iter().map(|(reason, n)| format!("{n} by `{reason}`")).collect();
    // Of equal counts the first name, so that the sentence does not depend on the order of the file.
    let worst = degenerate.by_intermediate.iter().max_by(|a, b| a.1.n.cmp(&b.1.n).then_with(|| b.0.cmp(&a.0)))?;
    let handling = match context.mode {
        Mode::Keep => "They are included here; every number is also given without them",
        Mode::Drop => "They are left out here; every number is also given with them",
    };
    let text = format!(
        "{} of {} degenerate ({}), most from `{}` ({} of {}). {handling}.",
        degenerate.n,
        count(degenerate.of, "run") + if degenerate.n == 1 { " is" } else { " are" },
        list(&reasons),
        worst.0,
        worst.1.n,
        worst.1.of
    );
    Some(finding(Figure::DegenerateRuns, text))
}

/// A baseline with failed runs: flagged as degenerate, or suspects.
struct FailedBaseline {
    failed: usize,
    /// Mean of the other runs in points; `None` if there is none.
    healthy: Option<f64>,
}

/// A baseline without its degenerate and suspect runs; `None` if all its runs are healthy.
fn failed_baseline(context: &Context<'_>, task: &TaskSummary) -> Option<FailedBaseline> {
    let baseline = &context.analysis.options.baseline;
    let suspects = context.analysis.hints.suspects.iter();
    let suspects: Vec<f64> = suspects
        .filter(|suspect| suspect.task == task.task && &suspect.intermediate == baseline)
        .map(|suspect| suspect.score)
        .collect();
    let healthy = task.drop.n.saturating_sub(suspects.len());
    let failed = task.keep.n - healthy;
    if failed == 0 {
        return None;
    }
    let sum = task.drop.mean.map(|mean| mean * task.drop.n as f64 - suspects.iter().sum::<f64>());
    Some(FailedBaseline { failed, healthy: sum.filter(|_| healthy > 0).map(|sum| sum / healthy as f64) })
}

/// Large deltas of a group of tasks, and how many of them rest on failed baseline runs.
#[derive(Default)]
struct Tally {
    large: usize,
    resting: usize,
    /// Failed baseline runs of the tasks with such deltas.
    failed: usize,
    tasks: Vec<String>,
}

/// Counted with degenerate runs, whatever the mode: without them these deltas are gone.
fn failed_baselines(context: &Context<'_>) -> Vec<Finding> {
    let mut groups: BTreeMap<String, Tally> = BTreeMap::new();
    for task in &context.analysis.tasks {
        let large: Vec<&Cell> = large(context, task);
        let tally = groups.entry(group(context, &task.task)).or_default();
        tally.large += large.len();
        if let Some(baseline) = failed_baseline(context, task) {
            let resting = large.iter().filter(|cell| rests(cell, task, &baseline)).count();
            if resting > 0 {
                tally.resting += resting;
                tally.failed += baseline.failed;
                tally.tasks.push(task.task.clone());
            }
        }
    }
    let words = |(group, tally): (String, Tally)| {
        let runs = match tally.failed {
            1 => "one failed baseline run".to_owned(),
            n => format!("{n} failed baseline runs"),
        };
        let on = if tally.tasks == [group.clone()] { String::new() } else { format!(" (of {})", list(&tally.tasks)) };
        let text = format!(
            "{} of {} on {group} rest on {runs}{on}: compared with the other baseline runs they are less than half as \
             large, or there is no other run to compare with.",
            tally.resting,
            count(tally.large, "large delta"),
        );
        finding(Figure::TransferMatrix, text)
    };
    groups.into_iter().filter(|(_, tally)| tally.resting > 0).map(words).collect()
}

fn large<'a>(context: &Context<'a>, task: &TaskSummary) -> Vec<&'a Cell> {
    let own = context.analysis.cells.iter().filter(|cell| cell.task == task.task && cell.role == task.role);
    own.filter(|cell| cell.keep.delta.is_some_and(|delta| delta.abs() >= LARGE)).collect()
}

fn rests(cell: &Cell, task: &TaskSummary, baseline: &FailedBaseline) -> bool {
    let (Some(delta), Some(mean)) = (cell.keep.delta, cell.keep.arms.mean) else { return false };
    // Half is the point at which the failed run explains more of the delta than the start point does.
    let sign = if task.higher_is_better { 1.0 } else { -1.0 };
    baseline.healthy.is_none_or(|healthy| sign * (mean - healthy) / delta < 0.5)
}

/// Tasks of one family, such as aj-cola and aj-wh, are counted together: the part of the name before the first hyphen,
/// if another task has it too.
fn group(context: &Context<'_>, task: &str) -> String {
    // Probing suites name their tasks family-part; a line for each part would bury the message.
    let family = |name: &str| name.split_once('-').map(|(family, _)| format!("{family}-"));
    let Some(own) = family(task) else { return task.to_owned() };
    let members = context.analysis.tasks.iter().filter(|other| family(&other.task).as_ref() == Some(&own)).count();
    if members > 1 { format!("{own}*") } else { task.to_owned() }
}

/// Intermediates from which more runs break than from the baseline.
fn breaking(context: &Context<'_>) -> Option<Finding> {
    let degenerate = &context.analysis.degenerate;
    let breaks = degenerate.by_intermediate.iter().filter(|(_, start)| context.significant(start.cmh_p));
    let words = |(name, start): &(String, crate::degenerate::StartPoint)| {
        let p = start.cmh_p.map(p_value).unwrap_or_default();
        format!("{name} ({} of {}, p {p})", start.n, start.of)
    };
    let breaks: Vec<String> = breaks.map(words).collect();
    if breaks.is_empty() {
        return None;
    }
    let text = format!(
        "The share of degenerate target runs differs from the baseline's (Cochran-Mantel-Haenszel over targets, not \
         corrected) for {}. With fewer than five such runs, rely on the counts.",
        list(&breaks)
    );
    Some(finding(Figure::DegenerateRuns, text))
}

/// Cells whose sign or verdict depends on the treatment of degenerate runs.
fn decided(context: &Context<'_>) -> Option<Finding> {
    let decisive = |cell: &&Cell| {
        let Some(drop) = cell.drop.as_ref() else { return false };
        let signs = cell.keep.delta.zip(drop.delta).is_some_and(|(keep, drop)| keep * drop < 0.0);
        signs || context.significant(cell.keep.p_holm) != context.significant(drop.p_holm)
    };
    let inside = |cell: &&Cell| cell.n_degenerate + cell.n_degenerate_base > 0;
    let cells: Vec<&Cell> = context.analysis.cells.iter().filter(inside).filter(decisive).collect();
    if cells.is_empty() {
        return None;
    }
    let largest = cells.iter().max_by(|a, b| {
        let part = |cell: &Cell| cell.degenerate_part.map_or(0.0, f64::abs);
        part(a).total_cmp(&part(b))
    })?;
    let (keep, drop) = (largest.keep.delta?, largest.drop.as_ref()?.delta?);
    let text = format!(
        "The sign or the verdict of {} changes when degenerate runs are left out; the most in {} \u{2192} {}: {} with \
         them, {} without.",
        count(cells.len(), "cell"),
        largest.intermediate,
        largest.task,
        plain(keep, 1),
        plain(drop, 1)
    );
    Some(finding(Figure::TransferMatrix, text))
}
