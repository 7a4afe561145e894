//! The probability that each of several t-distributed quantities is the largest.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::special::{t_quantile, t_sf};

/// A shifted and scaled t distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Posterior {
    /// Its centre.
    pub(super) center: f64,
    /// Its scale, above 0.
    pub(super) scale: f64,
    /// Its degrees of freedom; may be infinite.
    pub(super) df: f64,
}

/// Points of the integral over one distribution.
// Adaptive quadrature gives the same to 1e-6, as the test below says.
const POINTS: usize = 1_000;
/// Products of distribution functions below this change no printed digit of a probability, so the rest is skipped.
const NEGLIGIBLE: f64 = 1e-15;

/// Probability of being the largest, under independence: for each, the mean over its quantiles u = (k + 0.5) / 1000 of
/// the product of the others' distribution functions; then divided by the sum. Deterministic.
/// # Panics
/// If the tables lack a degree of freedom.
pub(super) fn probabilities(posteriors: &[Posterior], tables: &TailTables) -> Vec<f64> {
    let shares: Vec<f64> = (0..posteriors.len()).map(|own| share(posteriors, own, tables)).collect();
    let total: f64 = shares.iter().sum();
    shares.into_iter().map(|share| share / total).collect()
}

fn share(posteriors: &[Posterior], own: usize, tables: &TailTables) -> f64 {
    let Posterior { center, scale, df } = posteriors[own];
    let mut others: Vec<(Posterior, &TailTable)> =
        (0..posteriors.len()).filter(|&i| i != own).map(|i| (posteriors[i], tables.of(posteriors[i].df))).collect();
    // The strongest first: they bring most products below what counts.
    others.sort_by(|(a, _), (b, _)| b.center.total_cmp(&a.center));
    let below_all = |quantile: &f64| {
        let value = center + scale * quantile;
        let below = |product: f64, (other, table): &(Posterior, &TailTable)| {
            if product < NEGLIGIBLE { 0.0 } else { product * table.cdf((value - other.center) / other.scale) }
        };
        others.iter().fold(1.0, below)
    };
    tables.of(df).quantiles.iter().map(below_all).sum::<f64>() / POINTS as f64
}

/// Tables of t distributions with several degrees of freedom.
pub(super) struct TailTables(BTreeMap<u64, TailTable>);

impl TailTables {
    /// Tabulates every distribution that will be needed.
    pub(super) fn new(degrees: impl Iterator<Item = f64>) -> Self {
        let mut degrees: Vec<u64> = degrees.map(f64::to_bits).collect();
        degrees.sort_unstable();
        degrees.dedup();
        Self(degrees.into_par_iter().map(|bits| (bits, TailTable::new(f64::from_bits(bits)))).collect())
    }

    fn of(&self, df: f64) -> &TailTable {
        &self.0[&df.to_bits()]
    }
}

/// Upper tails of one t distribution on an even grid of asinh(x), and the quantiles of the integral. The grid replaces
/// some hundred thousand continued fractions per target; cubic interpolation errs by less than 1e-8.
struct TailTable {
    /// At asinh(x) = (i - 1) x [`STEP`].
    tails: Vec<f64>,
    quantiles: Vec<f64>,
}

// The error of the cubic falls with the fourth power of the step.
const STEP: f64 = 0.01;
/// asinh of the last x, where the tail of any t distribution with half a degree of freedom is below 1e-3.
const LAST: f64 = 15.0;

impl TailTable {
    fn new(df: f64) -> Self {
        let nodes = (LAST / STEP) as i32 + 3;
        let tails = (-1..nodes).map(|i| t_sf((f64::from(i) * STEP).sinh(), df)).collect();
        // The distribution is symmetric: half of the quantiles are found, the others are their negatives.
        let lower: Vec<f64> = (0..POINTS / 2).map(|k| t_quantile((k as f64 + 0.5) / POINTS as f64, df)).collect();
        let upper = lower.iter().rev().map(|quantile| -quantile);
        Self { quantiles: lower.iter().copied().chain(upper).collect(), tails }
    }

    fn cdf(&self, x: f64) -> f64 {
        let tail = self.tail(x.abs());
        if x < 0.0 { tail } else { 1.0 - tail }
    }

    /// P(T > x) for x >= 0, by the cubic through the four nodes about x.
    fn tail(&self, x: f64) -> f64 {
        // asinh for x >= 0, without the care for tiny x that the standard one pays for.
        let place = (x + (x * x + 1.0).sqrt()).ln() / STEP;
        let node = place as usize;
        // Beyond the grid the tail no longer matters, and its last value is used.
        let Some([a, b, c, d]) = self.tails.get(node..node + 4) else {
            return self.tails[self.tails.len() - 1];
        };
        let s = place - node as f64;
        let (r, q, t) = (s + 1.0, s - 1.0, s - 2.0);
        -s * q * t / 6.0 * a + r * q * t / 2.0 * b - r * s * t / 2.0 * c + r * s * q / 6.0 * d
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_distribution() {
        for df in [0.5, 1.0, 2.0, 4.07, 20.0, 200.0, f64::INFINITY] {
            let table = TailTable::new(df);
            for step in -4_000..=4_000 {
                let x = f64::from(step) * 0.0137 * (1.0 + f64::from(step).abs() / 500.0);
                let want = 1.0 - t_sf(x, df);
                assert!((table.cdf(x) - want).abs() < 1e-8, "df {df}, x {x}: {} is not {want}", table.cdf(x));
            }
        }
    }

    /// Reference: the same 1,000 midpoints over `norm` and `t` of SciPy 1.17.1; `integrate.quad` gives the same to 1e-6.
    /// Both are printed by tools/golden/make_analysis_hand.py.
    #[test]
    fn three_candidates_by_scipy() {
        let posteriors = [(0.0, 0.5, 4.0), (1.0, 0.5, 4.0), (1.5, 1.0, f64::INFINITY)]
            .map(|(center, scale, df)| Posterior { center, scale, df });
        let tables = TailTables::new(posteriors.iter().map(|posterior| posterior.df));
        let found = probabilities(&posteriors, &tables);
        for (found, want) in found.iter().zip([0.035_209_8, 0.317_520_9, 0.647_269_2]) {
            assert!((found - want).abs() < 1e-6, "{found} is not {want}");
        }
        assert_eq!(probabilities(&posteriors[..1], &tables), [1.0]);
    }
}
