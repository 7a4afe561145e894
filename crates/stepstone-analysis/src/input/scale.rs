//! One unit per task: the scale in force, the range of the metric, and the rules for degenerate runs.

use super::error::{Located, Problem, fault};
use super::observations::{Outcome, Reason};
use super::row::Row;

/// How a task's scores become points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unit {
    /// Points = score x scale.
    pub(super) scale: f64,
    /// True if no line states the scale.
    pub(super) assumed: bool,
    /// A perfect score as the file writes it: 1, or 100 if its scores are percentages.
    pub(super) whole: f64,
}

/// Lowest and highest value of metrics that are bounded, as fractions of 1.
fn range(metric: &str) -> Option<(f64, f64)> {
    match metric {
        "accuracy" | "macro_f1" | "micro_f1" | "f1" | "accuracy_f1" | "exact_match" | "exact_match_f1" | "f1a_em"
        | "token_accuracy" => Some((0.0, 1.0)),
        "matthews_correlation" | "pearson" | "spearman" | "pearson_spearman" => Some((-1.0, 1.0)),
        _ => None,
    }
}

/// Finds the unit of a task from its primary lines, in file order.
pub(super) fn unit(rows: &[&Row], task: &str, metric: &str) -> Located<Unit> {
    let stated = rows.iter().find(|row| !row.about.scale.is_nan());
    if let Some(first) = stated
        && let Some(other) = rows.iter().find(|row| !row.about.scale.is_nan() && row.about.scale != first.about.scale)
    {
        let (task, found, expected) = (task.to_owned(), other.about.scale, first.about.scale);
        return fault(Some(other.line), Problem::TwoScales { task, found, expected, first: first.line });
    }
    if let Some(other) = rows.iter().find(|row| row.about.higher_is_better != rows[0].about.higher_is_better) {
        let (task, found) = (task.to_owned(), other.about.higher_is_better);
        return fault(Some(other.line), Problem::TwoDirections { task, found, first: rows[0].line });
    }
    let usable = || rows.iter().filter(|row| row.usable());
    // One score above 1 shows that the scores are not fractions, unless the metric is bounded and most of them are.
    let above_one = usable().any(|row| row.score.abs() > 1.0);
    let unit = match (stated, range(metric)) {
        (Some(row), Some(_)) => Unit {
            scale: row.about.scale,
            assumed: false,
            whole: if row.about.scale > 1.0 || !above_one { 1.0 } else { 100.0 },
        },
        (Some(row), None) => Unit { scale: row.about.scale, assumed: false, whole: 1.0 },
        (None, bounded) if !above_one || (bounded.is_some() && mostly_fractions(rows)) => {
            Unit { scale: 100.0, assumed: true, whole: 1.0 }
        }
        (None, bounded) => Unit { scale: 1.0, assumed: true, whole: if bounded.is_some() { 100.0 } else { 1.0 } },
    };
    check_range(rows, task, metric, unit)?;
    Ok(unit)
}

/// True if more scores are fractions than percentages: then one above 1 is a mistake and not a change of unit.
/// Zero is the same in both units.
fn mostly_fractions(rows: &[&Row]) -> bool {
    let of = |wanted: fn(f64) -> bool| rows.iter().filter(|row| row.usable() && wanted(row.score.abs())).count();
    of(|score| score > 0.0 && score <= 1.0) > of(|score| score > 1.0)
}

fn check_range(rows: &[&Row], task: &str, metric: &str, unit: Unit) -> Located<()> {
    let Some((low, high)) = range(metric).map(|(low, high)| (low * unit.whole, high * unit.whole)) else {
        return Ok(());
    };
    // The tolerance lets through 1.0000000000000002, which averages of fractions produce.
    let outside = |row: &&&Row| row.usable() && (row.score < low - 1e-9 || row.score > high + 1e-9);
    match rows.iter().find(outside) {
        None => Ok(()),
        Some(row) => {
            let (task, metric, score, scale) = (task.to_owned(), metric.to_owned(), row.score, unit.scale);
            fault(Some(row.line), Problem::OutOfRange { task, metric, score, scale, low, high })
        }
    }
}

/// The rules for degenerate runs in their order; the first that fires gives the reason.
///
/// A hard task whose good runs score near the most common label must not be flagged by its score alone: the third rule
/// needs unknown predictions, the fourth the loss. Sources: the failed run of Mosbach et al. 2021 and Dodge et al. 2020.
pub(super) fn outcome(row: &Row, unit: Unit) -> Outcome {
    if !row.usable() {
        return Outcome::Unusable;
    }
    let (score, majority) = (row.score / unit.whole, row.about.majority_score / unit.whole);
    // One example of slack: a run that gets a single example right beyond the constant answer has not learnt the task.
    let example = if row.about.n_dev > 0.0 { 1.0 / row.about.n_dev } else { 0.0 };
    let direction = if row.about.higher_is_better { 1.0 } else { -1.0 };
    let near_majority = |margin: f64| direction * (score - majority) <= margin;
    if row.training.degenerate {
        Outcome::Degenerate(Reason::Runner)
    } else if row.training.n_distinct_pred == 1.0 {
        Outcome::Degenerate(Reason::Constant)
    } else if row.training.n_distinct_pred.is_nan() && near_majority(example + 1e-9) {
        Outcome::Degenerate(Reason::Majority)
    } else if untrained_loss(row) && row.about.n_dev > 0.0 && score <= majority + noise(majority, example) {
        Outcome::Degenerate(Reason::Loss)
    } else {
        Outcome::Clean
    }
}

/// Loss within 5 % of that of guessing among the classes. False where the loss or the classes are unknown.
fn untrained_loss(row: &Row) -> bool {
    // ln k is the loss of guessing evenly among k classes. 5 % of slack covers a loss averaged over batches.
    row.about.n_classes >= 2.0 && row.training.final_loss >= 0.95 * row.about.n_classes.ln()
}

/// Three standard errors of the accuracy of a constant answer.
fn noise(majority: f64, example: f64) -> f64 {
    // A Matthews correlation below 0 would make the variance negative.
    let m = majority.clamp(0.0, 1.0);
    3.0 * (m * (1.0 - m) * example).sqrt()
}
