//! Planning: how many restarts show a difference, and which difference given restarts can show.
//!
//! Sources: Colas et al. 2018; Card et al. 2020. Reference: `statsmodels.stats.power.TTestIndPower`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::special::{ln_gamma, normal_cdf, normal_quantile, t_quantile};

/// Differences in points for which the seeds are listed.
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
pub fn power(task: &str, sd: Option<f64>, alpha: f64, power: f64) -> Power {
    let seeds = |difference: f64| sd.and_then(|sd| seeds_needed(sd, difference, alpha, power));
    let seeds = DIFFERENCES.map(|difference| (format!("{difference:.1}"), seeds(difference)));
    Power { task: task.to_owned(), sd, seeds: seeds.into() }
}

/// The smallest n >= 2 with n >= 2 (sd/difference)^2 (t(1 - alpha/2) + t(power))^2 on 2 n - 2 degrees of freedom: two arms
/// of n restarts each. Within one of `solve_power`. `None` if no number is enough.
pub fn seeds_needed(sd: f64, difference: f64, alpha: f64, power: f64) -> Option<u64> {
    let scale = 2.0 * (sd / difference).powi(2);
    // The normal bound is below the answer, and near it from a few restarts on.
    let normal = scale * (normal_quantile(1.0 - alpha / 2.0) + normal_quantile(power)).powi(2);
    if normal.is_nan() || normal > 1e12 {
        return None;
    }
    let enough = |n: &u64| {
        let df = 2.0 * *n as f64 - 2.0;
        *n as f64 >= scale * (t_quantile(1.0 - alpha / 2.0, df) + t_quantile(power, df)).powi(2)
    };
    let fewest = (normal.floor() as u64).max(2);
    (fewest..2 * fewest + 1_000).find(enough)
}

/// The smallest difference, in standard deviations over restarts, that a t test of `n` against `n0` restarts shows with
/// probability `power`, the variance being estimated from these restarts. `None` if an arm has fewer than one restart,
/// both together fewer than three, or `power` is not between `alpha` and 1.
pub fn detectable(n: u64, n0: u64, alpha: f64, power: f64) -> Option<f64> {
    if n == 0 || n0 == 0 || n + n0 < 3 || !(power > alpha && power < 1.0) {
        return None;
    }
    let df = (n + n0) as f64 - 2.0;
    let critical = t_quantile(1.0 - alpha / 2.0, df);
    let (mut low, mut high) = (0.0, 1.0);
    while shown(high, critical, df) < power {
        high *= 2.0;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if shown(middle, critical, df) < power { low = middle } else { high = middle }
    }
    Some(high * (1.0 / n as f64 + 1.0 / n0 as f64).sqrt())
}

/// P(|T| > critical) for a t with `df` degrees of freedom whose numerator has mean `shift`: the normal tail given the
/// estimated standard deviation s, averaged over s by Simpson's rule.
fn shown(shift: f64, critical: f64, df: f64) -> f64 {
    const STEPS: u32 = 1_000;
    let ln_scale = 2f64.ln() + 0.5 * df * (0.5 * df).ln() - ln_gamma(0.5 * df);
    let density = |s: f64| if s > 0.0 { (ln_scale + (df - 1.0) * s.ln() - 0.5 * df * s * s).exp() } else { 0.0 };
    let tails = |s: f64| normal_cdf(shift - critical * s) + normal_cdf(-shift - critical * s);
    // s has a standard deviation of about 1/sqrt(2 df).
    let reach = 10.0 / df.sqrt();
    let (from, to) = ((1.0 - reach).max(0.0), 1.0 + reach);
    let step = (to - from) / f64::from(STEPS);
    let weight = |i: u32| match i {
        0 | STEPS => 1.0,
        _ if i % 2 == 1 => 4.0,
        _ => 2.0,
    };
    let at = |i: u32| from + f64::from(i) * step;
    (0..=STEPS).map(|i| weight(i) * density(at(i)) * tails(at(i))).sum::<f64>() * step / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula with SciPy 1.17.1's quantiles; the table of analysis.md 8, which is statsmodels' `solve_power` rounded
    /// up, is never more than one away.
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

    /// Reference: SciPy 1.17.1: the root of power = 0.8 where power is `integrate.quad` over `stats.chi`. (statsmodels'
    /// solver and `stats.nct` lose the tail of the whole map: 3.85 for 3 v 10, whose power is 0.765.)
    #[test]
    fn detectable_differences_by_scipy() {
        for (n, n0, one_cell, whole_map) in [
            (3, 3, 3.070_892_27, 10.645_313_09),
            (3, 10, 2.026_443_51, 3.962_881_25),
            (5, 5, 2.024_439_34, 4.404_295_10),
            (5, 10, 1.660_306_61, 3.117_446_68),
            (10, 10, 1.324_947_39, 2.346_210_05),
        ] {
            for (alpha, want) in [(0.05, one_cell), (0.05 / 110.0, whole_map)] {
                let found = detectable(n, n0, alpha, 0.8).unwrap();
                assert!((found - want).abs() < 2e-8, "{n} v {n0}, alpha {alpha}: {found} is not {want}");
            }
        }
    }

    #[test]
    fn plans_without_an_answer_have_none() {
        assert_eq!(seeds_needed(0.0, 1.0, 0.05, 0.8), Some(2));
        assert_eq!(seeds_needed(1.0, 0.0, 0.05, 0.8), None);
        assert_eq!(power("rte", None, 0.05, 0.8).seeds["0.5"], None);
        assert_eq!(power("rte", Some(1.0), 0.05, 0.8).seeds["1.0"], Some(17));
        assert_eq!((detectable(1, 1, 0.05, 0.8), detectable(0, 9, 0.05, 0.8)), (None, None));
        assert_eq!(detectable(3, 3, 0.05, 0.05), None);
    }
}
