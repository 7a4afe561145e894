//! Planning: how many restarts show a difference.
//!
//! Sources: Colas et al. 2018; Card et al. 2020. Reference: `statsmodels.stats.power.TTestIndPower`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::special::{normal_quantile, t_quantile};

/// Differences in points for which the seeds are listed.
// From a difference that leaderboards argue about to one that anybody sees.
const DIFFERENCES: [f64; 4] = [0.5, 1.0, 2.0, 5.0];

/// Restarts that a task needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Power {
    /// Name of the task.
    pub task: String,
    /// Standard deviation over restarts, in points; `None` if unknown.
    pub sd: Option<f64>,
    /// Restarts per arm by the difference to be shown, in points.
    pub seeds: BTreeMap<String, Option<u64>>,
}

/// Restarts per arm that show differences of 0.5, 1, 2 and 5 points on one task.
pub(crate) fn power(task: &str, sd: Option<f64>, alpha: f64, power: f64) -> Power {
    let seeds = |difference: f64| sd.and_then(|sd| seeds_needed(sd, difference, alpha, power));
    let seeds = DIFFERENCES.map(|difference| (format!("{difference:.1}"), seeds(difference)));
    Power { task: task.to_owned(), sd, seeds: seeds.into() }
}

/// The smallest n >= 2 with n >= 2 (sd/difference)^2 (t(1 - alpha/2) + t(power))^2 on 2 n - 2 degrees of freedom: two
/// arms of n restarts each. Within one of `solve_power`. `None` if no number is enough.
pub(crate) fn seeds_needed(sd: f64, difference: f64, alpha: f64, power: f64) -> Option<u64> {
    // Two arms of n restarts: the variance of the difference is 2 sd^2 / n.
    let scale = 2.0 * (sd / difference).powi(2);
    // The normal bound is below the answer, and near it from a few restarts on.
    let normal = scale * (normal_quantile(1.0 - alpha / 2.0) + normal_quantile(power)).powi(2);
    // A difference of 0 needs infinitely many restarts; no study runs a million million.
    if normal.is_nan() || normal > 1e12 {
        return None;
    }
    let enough = |n: &u64| {
        let df = 2.0 * *n as f64 - 2.0;
        *n as f64 >= scale * (t_quantile(1.0 - alpha / 2.0, df) + t_quantile(power, df)).powi(2)
    };
    let fewest = (normal.floor() as u64).max(2);
    // The t quantiles add a few restarts to the normal bound; the end of the range only stops the search.
    (fewest..2 * fewest + 1_000).find(enough)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference: for each alpha the formula with SciPy 1.17.1's `t.ppf`, then statsmodels 0.15.0 `solve_power` rounded up,
    /// which is never more than one away. Both are printed by tools/golden/make_analysis_hand.py.
    #[test]
    fn seeds_are_those_of_the_formula() {
        let effects = [0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0];
        for (alpha, formula, table) in [
            (0.05, [64, 29, 17, 9, 6, 4, 3], [64, 29, 17, 9, 6, 4, 3]),
            (0.05 / 11.0, [111, 50, 29, 14, 9, 6, 4], [111, 51, 30, 15, 9, 6, 4]),
            (0.05 / 110.0, [154, 70, 41, 20, 13, 8, 6], [155, 71, 41, 20, 13, 8, 6]),
        ] {
            for (effect, (formula, table)) in effects.into_iter().zip(formula.into_iter().zip(table)) {
                let found = seeds_needed(1.0, effect, alpha, 0.8).unwrap();
                assert_eq!(found, formula, "effect {effect}, alpha {alpha}");
                assert!(found.abs_diff(table) <= 1, "effect {effect}, alpha {alpha}");
            }
        }
    }

    #[test]
    fn plans_without_an_answer_have_none() {
        assert_eq!(seeds_needed(0.0, 1.0, 0.05, 0.8), Some(2));
        assert_eq!(seeds_needed(1.0, 0.0, 0.05, 0.8), None);
        assert_eq!(power("rte", None, 0.05, 0.8).seeds["0.5"], None);
        assert_eq!(power("rte", Some(1.0), 0.05, 0.8).seeds["1.0"], Some(17));
    }
}
