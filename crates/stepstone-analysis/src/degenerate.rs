//! Degenerate runs: how many, by which rule, from which start point, and whether runs after an intermediate
//! fail to learn more often.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::grid::Grid;
use crate::input::{Observations, Outcome, RunScore};
use crate::observation::Role;
use crate::special::chi2_sf;

/// The degenerate runs of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Degenerate {
    /// Degenerate runs, over all roles.
    pub n: usize,
    /// Runs with a score, over all roles.
    pub of: usize,
    /// Degenerate runs by the rule that fired first.
    pub by_reason: BTreeMap<String, usize>,
    /// By start point, sorted by name, the baseline last.
    #[serde(with = "crate::json::map")]
    pub by_intermediate: Vec<(String, StartPoint)>,
    /// Every degenerate run, sorted by task, intermediate and seed.
    pub runs: Vec<DegenerateRun>,
}

/// Degenerate runs from one start point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartPoint {
    /// Degenerate runs.
    pub n: usize,
    /// Runs with a score.
    pub of: usize,
    /// Cochran-Mantel-Haenszel p over the targets against the baseline; `None` for the baseline and where no
    /// target that both were run on has degenerate and clean runs. The counts cover all roles, the p only targets. Below
    /// about five degenerate runs the approximation is poor: rely on the counts instead.
    pub cmh_p: Option<f64>,
}

/// One degenerate run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DegenerateRun {
    /// The start point.
    pub intermediate: String,
    /// The task.
    pub task: String,
    /// The restart.
    pub seed: i64,
    /// The rule that fired first: runner, constant, majority or loss.
    pub reason: String,
}

/// Counts the degenerate runs of a study.
pub(crate) fn degenerate(grid: &Grid<'_>) -> Degenerate {
    let study = grid.study;
    let usable = |run: &&RunScore| run.outcome != Outcome::Unusable;
    let runs = degenerate_runs(study);
    let mut by_reason = BTreeMap::new();
    runs.iter().for_each(|run| *by_reason.entry(run.reason.clone()).or_insert(0) += 1);
    // Intermediates first; the baseline, to compare with, last.
    let baseline_last = |i: &usize| (Some(*i) == grid.baseline, *i);
    let mut order: Vec<usize> = (0..study.intermediates.len()).collect();
    order.sort_by_key(baseline_last);
    let by_intermediate = order.into_iter().map(|i| {
        let own = || study.runs.iter().filter(usable).filter(move |run| run.intermediate as usize == i);
        let n = own().filter(|run| run.outcome != Outcome::Clean).count();
        // The baseline is what the others are compared with.
        let p = (Some(i) != grid.baseline).then(|| cmh(&tables(grid, i)).map(|(_, p)| p)).flatten();
        (study.intermediates[i].clone(), StartPoint { n, of: own().count(), cmh_p: p })
    });
    Degenerate {
        n: runs.len(),
        of: study.runs.iter().filter(usable).count(),
        by_reason,
        by_intermediate: by_intermediate.collect(),
        runs,
    }
}

fn degenerate_runs(study: &Observations) -> Vec<DegenerateRun> {
    let mut runs: Vec<DegenerateRun> = Vec::new();
    for run in &study.runs {
        if let Outcome::Degenerate(reason) = run.outcome {
            runs.push(DegenerateRun {
                intermediate: study.intermediates[run.intermediate as usize].clone(),
                task: study.tasks[run.task as usize].name.clone(),
                seed: run.seed,
                reason: reason.name().to_owned(),
            });
        }
    }
    runs.sort_by(|a, b| (&a.task, &a.intermediate, a.seed).cmp(&(&b.task, &b.intermediate, b.seed)));
    runs
}

/// A 2 x 2 table of one target: degenerate and clean runs of an intermediate, then of the baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stratum {
    /// Degenerate runs from the intermediate.
    pub degenerate: usize,
    /// Clean runs from the intermediate.
    pub clean: usize,
    /// Degenerate runs from the baseline.
    pub base_degenerate: usize,
    /// Clean runs from the baseline.
    pub base_clean: usize,
}

fn tables(grid: &Grid<'_>, intermediate: usize) -> Vec<Stratum> {
    let Some(baseline) = grid.baseline else { return Vec::new() };
    let table = |task: usize| {
        let (own, base) = (grid.arm(task, intermediate), grid.arm(task, baseline));
        Stratum {
            degenerate: own.degenerate(),
            clean: own.clean.len(),
            base_degenerate: base.degenerate(),
            base_clean: base.clean.len(),
        }
    };
    grid.tasks(Role::Target).into_iter().map(table).collect()
}

/// Cochran-Mantel-Haenszel over strata with the 0.5 continuity correction: X^2 on one degree of freedom and its p.
/// `None` if no stratum has variance. Reference: `StratifiedTable.test_null_odds(correction=True)` of statsmodels.
pub(crate) fn cmh(tables: &[Stratum]) -> Option<(f64, f64)> {
    let (mut excess, mut variance) = (0.0, 0.0);
    for table in tables {
        let (a, n1) = (table.degenerate as f64, (table.degenerate + table.clean) as f64);
        let n0 = (table.base_degenerate + table.base_clean) as f64;
        // Given its margins, a table has the hypergeometric mean n1 m / n and variance n1 n0 m (n - m) / (n^2 (n - 1)).
        let (m, n) = (a + table.base_degenerate as f64, n1 + n0);
        // A target that only one of the two start points was run on says nothing about their difference.
        if n1 > 0.0 && n0 > 0.0 {
            excess += a - n1 * m / n;
            variance += n1 * n0 * m * (n - m) / (n * n * (n - 1.0));
        }
    }
    // Counts are discrete: without the correction by one half, the chi-square approximation rejects too often for small
    // ones. Below one half the statistic is 0 here; statsmodels squares the negative rest.
    let statistic = (excess.abs() - 0.5).max(0.0).powi(2) / variance;
    (variance > 0.0).then(|| (statistic, chi2_sf(statistic, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference: statsmodels 0.15.0 `StratifiedTable`, printed by tools/golden/make_analysis_hand.py.
    #[test]
    fn three_strata_by_statsmodels() {
        let table =
            |degenerate, clean, base_degenerate, base_clean| Stratum { degenerate, clean, base_degenerate, base_clean };
        let (statistic, p) = cmh(&[table(1, 2, 0, 3), table(2, 1, 0, 3), table(1, 2, 1, 2)]).unwrap();
        assert!((statistic - 0.952_380_952_4).abs() < 1e-9, "{statistic}");
        assert!((p - 0.329_113_986_0).abs() < 1e-9, "{p}");
        assert_eq!(cmh(&[table(0, 3, 0, 3), table(2, 0, 0, 0)]), None);
    }
}
