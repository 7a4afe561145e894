//! Reliability of a task's scores: how much of their variance lies between intermediates, not between restarts?
//!
//! Source: Shrout and Fleiss 1979, one-way random effects; reference `pingouin.intraclass_corr`, ICC(1,1) and ICC(1,k).

use serde::{Deserialize, Serialize};

use crate::moments::mean;
use crate::special::f_sf;
use crate::table::{ScoreColumn, ScoreTable};

/// The intraclass correlation of one task. `None` is undefined; a task whose `icck` is below 0.5 is too noisy
/// for correlations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Name of the task.
    pub task: String,
    /// Intermediates with a score.
    pub k: usize,
    /// Scores.
    pub n: usize,
    /// Reliability of one restart; may be negative.
    pub icc1: Option<f64>,
    /// Reliability of the mean of an intermediate's restarts; may be negative.
    pub icck: Option<f64>,
    /// Variance between intermediates over that within.
    #[serde(rename = "F")]
    pub f: Option<f64>,
    /// Its p-value on k - 1 and n - k degrees of freedom.
    pub p: Option<f64>,
    /// Standard deviation within intermediates, in points.
    pub sem: Option<f64>,
}

/// One per column of the table.
pub(crate) fn reliability(table: &ScoreTable) -> Vec<Reliability> {
    table.columns.iter().map(|column| of_column(column, &groups(table, column))).collect()
}

/// Scores of each intermediate that has one.
fn groups(table: &ScoreTable, column: &ScoreColumn) -> Vec<Vec<f64>> {
    let scored = table.rows.iter().zip(&column.scores).filter_map(|(row, score)| Some((row.intermediate, (*score)?)));
    let scored: Vec<(u32, f64)> = scored.collect();
    scored.chunk_by(|a, b| a.0 == b.0).map(|group| group.iter().map(|(_, score)| *score).collect()).collect()
}

fn of_column(column: &ScoreColumn, groups: &[Vec<f64>]) -> Reliability {
    let (k, n) = (groups.len(), groups.iter().map(Vec::len).sum());
    let undefined =
        Reliability { task: column.task.clone(), k, n, icc1: None, icck: None, f: None, p: None, sem: None };
    // At least two intermediates, and one of them with two restarts, or one of the mean squares has no degrees of
    // freedom.
    if k < 2 || n <= k {
        return undefined;
    }
    let (between, within) = mean_squares(groups, n);
    let sem = Some(within.sqrt());
    // F is undefined without variance inside: then restarts agree perfectly, or nothing varies at all.
    match (between > 0.0, within > 0.0) {
        (false, false) => Reliability { sem, ..undefined },
        (true, false) => Reliability { icc1: Some(1.0), icck: Some(1.0), p: Some(0.0), sem, ..undefined },
        (_, true) => {
            // With uneven groups the mean size would overstate how much averaging helps.
            let others = effective_size(groups, n) - 1.0;
            let f = between / within;
            Reliability {
                icc1: Some((between - within) / (between + others * within)),
                icck: (between > 0.0).then(|| (between - within) / between),
                f: Some(f),
                p: Some(f_sf(f, k as f64 - 1.0, (n - k) as f64)),
                sem,
                ..undefined
            }
        }
    }
}

/// Mean squares between and within groups; exactly 0 where all are equal.
fn mean_squares(groups: &[Vec<f64>], n: usize) -> (f64, f64) {
    let all = mean(&groups.concat());
    let (mut between, mut within) = (0.0, 0.0);
    for group in groups {
        let own = mean(group);
        between += group.len() as f64 * (own - all).powi(2);
        within += group.iter().map(|score| (score - own).powi(2)).sum::<f64>();
    }
    (between / (groups.len() as f64 - 1.0), within / (n - groups.len()) as f64)
}

/// The common group size that uneven groups are worth.
fn effective_size(groups: &[Vec<f64>], n: usize) -> f64 {
    let squares: f64 = groups.iter().map(|group| (group.len() as f64).powi(2)).sum();
    (n as f64 - squares / n as f64) / (groups.len() as f64 - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Role;

    fn of(groups: &[&[f64]]) -> Reliability {
        let column = ScoreColumn { task: "rte".to_owned(), role: Role::Target, scores: Vec::new() };
        of_column(&column, &groups.iter().map(|group| group.to_vec()).collect::<Vec<_>>())
    }

    /// Reference: pingouin 0.7.0 `intraclass_corr`; `sem` is the root of the mean variance. Printed by
    /// tools/golden/make_analysis_hand.py.
    #[test]
    fn four_intermediates_by_pingouin() {
        let found = of(&[&[70.1, 71.0, 69.5], &[72.2, 73.1, 72.0], &[68.0, 69.9, 68.4], &[74.1, 73.0, 75.2]]);
        for (found, want) in [
            (found.icc1, 0.871_809_278_0),
            (found.icck, 0.953_276_769_6),
            (found.f, 21.402_629_708_6),
            (found.p, 0.000_353_954_5),
            (found.sem, 0.884_119_147_3),
        ] {
            assert!((found.unwrap() - want).abs() < 1e-9, "{found:?} vs {want}");
        }
    }

    #[test]
    fn missing_variance_is_told_from_perfect_reliability() {
        let constant = 0.1 + 0.2;
        let flat = of(&[&[constant; 3], &[constant; 3]]);
        assert_eq!((flat.icc1, flat.icck, flat.f, flat.p), (None, None, None, None));
        let perfect = of(&[&[1.0; 3], &[2.0; 3]]);
        assert_eq!((perfect.icc1, perfect.icck, perfect.f, perfect.p), (Some(1.0), Some(1.0), None, Some(0.0)));
        let same_means = of(&[&[1.0, 3.0], &[3.0, 1.0]]);
        assert_eq!((same_means.icc1, same_means.icck, same_means.p), (Some(-1.0), None, Some(1.0)));
        for few in [of(&[]), of(&[&[1.0, 2.0]]), of(&[&[1.0], &[2.0]])] {
            assert_eq!((few.icc1, few.sem), (None, None));
        }
    }
}
