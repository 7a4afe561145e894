//! Agreement of two analyses of one grid: do two studies, or two encoders, say the same about the same cells?
//!
//! Both use mode `keep`, and only the cells that both have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::analysis::Analysis;
use crate::coefficient::{Coefficient, kendall, pearson, spearman};
use crate::moments::mean;
use crate::observation::Role;

/// Name and version of the output's form.
pub(crate) const SCHEMA: &str = "stepstone.agreement/1";

/// Number of best intermediates that are compared.
// A team that can afford a few intermediates asks whether two studies recommend the same ones.
const TOP: usize = 3;

/// How far two analyses agree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Name and version of this format.
    pub schema: String,
    /// Study and encoder of the first analysis.
    pub first: Source,
    /// Study and encoder of the second analysis.
    pub second: Source,
    /// Deltas of all common target cells.
    pub target: DeltaAgreement,
    /// Deltas of all common probe cells.
    pub probe: DeltaAgreement,
    /// Common tasks: targets, then probes.
    pub tasks: Vec<TaskAgreement>,
    /// Average gains of the common intermediates.
    pub averages: AverageAgreement,
}

/// Study and encoder of an analysis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Name of the study; may be empty.
    pub study: String,
    /// Name of the pretrained encoder; may be empty.
    pub encoder: String,
}

/// Agreement of deltas over the cells of a role. `None` is undefined.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeltaAgreement {
    /// Cells that have a delta in both.
    pub n: usize,
    /// Spearman's rho.
    pub rho: Option<f64>,
    /// Its two-sided p-value.
    pub p: Option<f64>,
    /// Pearson's r.
    pub pearson: Option<f64>,
    /// Its two-sided p-value.
    pub p_pearson: Option<f64>,
    /// Lin's concordance: 1 only if the deltas are equal.
    pub concordance: Option<f64>,
    /// Share of cells whose deltas have the same sign.
    pub same_sign: Option<f64>,
}

/// Agreement over the intermediates of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskAgreement {
    /// Name of the task.
    pub task: String,
    /// Target or probe.
    pub role: Role,
    /// Deltas of the task.
    pub deltas: DeltaAgreement,
    /// Reliability of the task's means in the first analysis.
    pub icck_first: Option<f64>,
    /// Reliability of the task's means in the second analysis.
    pub icck_second: Option<f64>,
    /// Pearson's r over the root of the two reliabilities: what r would be without seed noise. May exceed 1.
    pub disattenuated: Option<f64>,
    /// Do the best intermediates agree? `None` unless there are more than are compared.
    pub top: Option<Overlap>,
}

/// Overlap of the best few intermediates of two analyses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    /// How many of the best are compared.
    pub k: usize,
    /// Number of intermediates that both have.
    pub of: usize,
    /// How many are among the best in both.
    #[serde(rename = "overlap")]
    pub shared: usize,
    /// Overlap expected by chance, k^2 / of.
    pub expected: f64,
    /// Probability of at least this overlap by chance (hypergeometric).
    pub p: f64,
}

/// Agreement of the order of the intermediates' average gains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AverageAgreement {
    /// Intermediates with an average in both.
    pub n: usize,
    /// Kendall's tau-b.
    pub tau_b: Option<f64>,
    /// Its two-sided p-value.
    pub p: Option<f64>,
}

/// Compares two analyses over their common cells.
pub fn agreement(first: &Analysis, second: &Analysis) -> Agreement {
    let cells = common_cells(first, second);
    let tasks = cells.chunk_by(|a, b| (a.role, a.task) == (b.role, b.task));
    let of_role = |role: Role| cells.iter().filter(|cell| cell.role == role).copied().collect::<Vec<_>>();
    Agreement {
        schema: SCHEMA.to_owned(),
        first: Source { study: first.study.clone(), encoder: first.encoder.clone() },
        second: Source { study: second.study.clone(), encoder: second.encoder.clone() },
        target: delta_agreement(&of_role(Role::Target)),
        probe: delta_agreement(&of_role(Role::Probe)),
        tasks: tasks.map(|cells| task_agreement(cells, first, second)).collect(),
        averages: average_agreement(first, second),
    }
}

/// A cell that has a delta in both analyses.
#[derive(Debug, Clone, Copy)]
struct CommonCell<'a> {
    role: Role,
    task: &'a str,
    intermediate: &'a str,
    first: f64,
    second: f64,
}

/// Sorted by role, task and intermediate.
fn common_cells<'a>(first: &'a Analysis, second: &Analysis) -> Vec<CommonCell<'a>> {
    // With degenerate runs: two studies flag different ones, and without them would compare different runs.
    let deltas =
        second.cells.iter().filter_map(|cell| Some(((&cell.task, &cell.intermediate, cell.role), cell.keep.delta?)));
    let deltas: BTreeMap<_, f64> = deltas.collect();
    let common = first.cells.iter().filter_map(|cell| {
        let second = *deltas.get(&(&cell.task, &cell.intermediate, cell.role))?;
        let (task, intermediate) = (cell.task.as_str(), cell.intermediate.as_str());
        Some(CommonCell { role: cell.role, task, intermediate, first: cell.keep.delta?, second })
    });
    let mut common: Vec<CommonCell> = common.collect();
    // Sorted, because `chunk_by` joins only neighbours of one task.
    common.sort_by_key(|cell| (cell.role, cell.task, cell.intermediate));
    common
}

fn delta_agreement(cells: &[CommonCell]) -> DeltaAgreement {
    let (x, y): (Vec<f64>, Vec<f64>) = cells.iter().map(|cell| (cell.first, cell.second)).unzip();
    let (rho, r) = (spearman(&x, &y).ok(), pearson(&x, &y).ok());
    // A comparison with 0, because `signum` gives even a delta of exactly 0 a sign.
    let same_sign = x.iter().zip(&y).filter(|(x, y)| x.partial_cmp(&&0.0) == y.partial_cmp(&&0.0)).count();
    DeltaAgreement {
        n: x.len(),
        rho: rho.map(|rho| rho.r),
        p: rho.and_then(|rho| rho.p),
        pearson: r.map(|r| r.r),
        p_pearson: r.and_then(|r| r.p),
        concordance: concordance(&x, &y),
        same_sign: (!x.is_empty()).then(|| same_sign as f64 / x.len() as f64),
    }
}

fn task_agreement(cells: &[CommonCell], first: &Analysis, second: &Analysis) -> TaskAgreement {
    let CommonCell { role, task, .. } = cells[0];
    let deltas = delta_agreement(cells);
    let [icck_first, icck_second] = [first, second].map(|analysis| icck(analysis, task));
    // A reliability of 0 or less means that all variance is noise; dividing by it would claim the opposite.
    let reliabilities = icck_first.zip(icck_second).filter(|(a, b)| *a > 0.0 && *b > 0.0);
    let disattenuated = deltas.pearson.zip(reliabilities).map(|(r, (a, b))| r / (a * b).sqrt());
    TaskAgreement { task: task.to_owned(), role, deltas, icck_first, icck_second, disattenuated, top: overlap(cells) }
}

fn icck(analysis: &Analysis, task: &str) -> Option<f64> {
    analysis.modes.keep.reliability.iter().find(|reliability| reliability.task == task)?.icck
}

fn average_agreement(first: &Analysis, second: &Analysis) -> AverageAgreement {
    let rows = |analysis: &Analysis| -> BTreeMap<String, f64> {
        let rows = &analysis.modes.keep.averages.rows;
        rows.iter().filter_map(|row| Some((row.intermediate.clone(), row.mean?))).collect()
    };
    let (first, second) = (rows(first), rows(second));
    let common = first.iter().filter_map(|(name, x)| Some((*x, *second.get(name)?)));
    let (x, y): (Vec<f64>, Vec<f64>) = common.unzip();
    let tau: Option<Coefficient> = kendall(&x, &y).ok();
    AverageAgreement { n: x.len(), tau_b: tau.map(|tau| tau.r), p: tau.and_then(|tau| tau.p) }
}

/// Lin's concordance, moments with divisor n; `None` without values or if both sides equal the same constant.
/// Source: Lin 1989.
pub(crate) fn concordance(x: &[f64], y: &[f64]) -> Option<f64> {
    let (x_mean, y_mean) = (mean(x), mean(y));
    let sum = |term: &dyn Fn(f64, f64) -> f64| x.iter().zip(y).map(|(x, y)| term(x - x_mean, y - y_mean)).sum::<f64>();
    let apart = sum(&|x, _| x * x) + sum(&|_, y| y * y) + x.len() as f64 * (x_mean - y_mean).powi(2);
    (apart > 0.0).then(|| 2.0 * sum(&|x, y| x * y) / apart)
}

/// Overlap of the intermediates with the largest deltas; ties go to the first name.
fn overlap(cells: &[CommonCell]) -> Option<Overlap> {
    let (k, of) = (TOP, cells.len());
    // Among three intermediates the best three are always the same.
    if of <= k {
        return None;
    }
    let best = |delta: fn(&CommonCell) -> f64| {
        let mut sorted: Vec<&CommonCell> = cells.iter().collect();
        sorted.sort_by(|a, b| delta(b).total_cmp(&delta(a)).then_with(|| a.intermediate.cmp(b.intermediate)));
        sorted.iter().take(k).map(|cell| cell.intermediate).collect::<Vec<_>>()
    };
    let (first, second) = (best(|cell| cell.first), best(|cell| cell.second));
    let overlap = first.iter().filter(|name| second.contains(name)).count();
    Some(Overlap { k, of, shared: overlap, expected: (k * k) as f64 / of as f64, p: overlap_p(k, of, overlap) })
}

/// P(overlap >= `overlap`) of two sets of `k` drawn from `of`.
fn overlap_p(k: usize, of: usize, overlap: usize) -> f64 {
    let ways = |shared: usize| choose(k, shared) * choose(of - k, k - shared);
    (overlap..=k).map(ways).sum::<f64>() / choose(of, k)
}

fn choose(n: usize, k: usize) -> f64 {
    // Where k exceeds n a factor saturates to 0, and so do the ways to choose.
    (0..k).map(|i| n.saturating_sub(i) as f64 / (i + 1) as f64).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells<'a>(names: &'a [String], first: &[f64], second: &[f64]) -> Vec<CommonCell<'a>> {
        let of = |(name, (first, second)): (&'a String, (&f64, &f64))| CommonCell {
            role: Role::Target,
            task: "rte",
            intermediate: name,
            first: *first,
            second: *second,
        };
        names.iter().zip(first.iter().zip(second)).map(of).collect()
    }

    /// Reference: Lin's 2 cov / (var + var + (mean - mean)^2), and SciPy 1.17.1 `spearmanr` and `hypergeom`, printed by
    /// tools/golden/make_analysis_hand.py.
    #[test]
    fn five_deltas_by_formula() {
        let names: Vec<String> = (0..5).map(|i| format!("i{i}")).collect();
        let cells = cells(&names, &[1.0, 2.5, -0.5, 3.0, 0.2], &[0.8, 2.0, 0.1, 3.6, -0.4]);
        let found = delta_agreement(&cells);
        assert!((found.concordance.unwrap() - 0.928_578_876_0).abs() < 1e-9, "{found:?}");
        assert!((found.rho.unwrap() - 0.9).abs() < 1e-12, "{found:?}");
        assert_eq!(found.same_sign, Some(0.6));
        let top = overlap(&cells).unwrap();
        assert_eq!((top.shared, top.of, top.p), (3, 5, 0.1));
        assert_eq!(overlap(&cells[..3]), None);
    }

    /// Reference: SciPy 1.17.1 `hypergeom`, printed by tools/golden/make_analysis_hand.py.
    #[test]
    fn overlap_of_three_among_eleven_by_the_hypergeometric() {
        assert!((overlap_p(3, 11, 2) - 0.151_515_151_5).abs() < 1e-9);
        assert_eq!(overlap_p(3, 11, 0), 1.0);
        assert!((overlap_p(3, 4, 2) - 1.0).abs() < 1e-12, "two of three must overlap among four");
    }

    #[test]
    fn nothing_in_common_is_undefined() {
        assert_eq!(delta_agreement(&[]), DeltaAgreement::default());
        assert_eq!(concordance(&[1.0, 1.0], &[1.0, 1.0]), None);
        assert_eq!(concordance(&[1.0, 1.0], &[2.0, 2.0]), Some(0.0));
    }
}
