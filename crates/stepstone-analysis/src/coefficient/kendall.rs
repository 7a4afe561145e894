//! Kendall's tau-b in n log n steps. Source: Knight 1966 (JASA 61:436-439): discordant pairs are the swaps of a merge
//! sort.

use super::ranks::Ranks;
use super::value::{Coefficient, FEWEST, FEWEST_TESTED, Undefined};
use crate::special::normal_cdf;

/// Tau-b and its asymptotic p-value.
/// # Panics
/// If the lengths differ.
pub(crate) fn tau_b(x: &Ranks, y: &Ranks) -> Result<Coefficient, Undefined> {
    assert_eq!(x.len(), y.len(), "the two columns have different lengths");
    let n = x.len();
    if n < FEWEST {
        return Err(Undefined::Few);
    }
    let (x_ties, y_ties) = (Ties::new(x.groups.iter().copied()), Ties::new(y.groups.iter().copied()));
    let pairs = (n * (n - 1) / 2) as f64;
    // Counts are whole numbers below 2^53, so equality is exact.
    if x_ties.pairs == pairs || y_ties.pairs == pairs {
        return Err(Undefined::Constant);
    }
    let (discordant, tied_in_both) = discordant(x, y);
    // Concordant less discordant: all pairs without a tie, less the discordant ones twice.
    let score = pairs - x_ties.pairs - y_ties.pairs + tied_in_both - 2.0 * discordant;
    let r = score / (pairs - x_ties.pairs).sqrt() / (pairs - y_ties.pairs).sqrt();
    let p = (n >= FEWEST_TESTED).then(|| 2.0 * normal_cdf(-score.abs() / variance(n as f64, &x_ties, &y_ties).sqrt()));
    // Two roundings can carry a perfect correlation a last bit beyond 1.
    Ok(Coefficient { r: r.clamp(-1.0, 1.0), p })
}

/// Sums over the groups of t equal values.
struct Ties {
    /// t (t - 1) / 2
    pairs: f64,
    /// t (t - 1) (t - 2)
    triples: f64,
    /// t (t - 1) (2 t + 5)
    spread: f64,
}

impl Ties {
    fn new(groups: impl Iterator<Item = u32>) -> Self {
        let mut sums = Self { pairs: 0.0, triples: 0.0, spread: 0.0 };
        for t in groups.map(f64::from) {
            let ordered = t * (t - 1.0);
            sums.pairs += ordered / 2.0;
            sums.triples += ordered * (t - 2.0);
            sums.spread += ordered * (2.0 * t + 5.0);
        }
        sums
    }
}

/// Variance of concordant less discordant pairs under independence. Source: Kendall 1970, as in SciPy.
fn variance(n: f64, x: &Ties, y: &Ties) -> f64 {
    let m = n * (n - 1.0);
    (m * (2.0 * n + 5.0) - x.spread - y.spread) / 18.0
        + 2.0 * x.pairs * y.pairs / m
        + x.triples * y.triples / (9.0 * m * (n - 2.0))
}

/// Number of discordant pairs, and of pairs that are equal in both columns.
fn discordant(x: &Ranks, y: &Ranks) -> (f64, f64) {
    let mut by_x: Vec<f64> = x.order.iter().map(|&row| y.doubled[row as usize]).collect();
    let (mut start, mut tied_in_both) = (0, 0.0);
    for &group in &x.groups {
        let end = start + group as usize;
        // Inside equal x ascending y has no inversion, so that none is counted as discordant.
        by_x[start..end].sort_unstable_by(f64::total_cmp);
        let equal = by_x[start..end].chunk_by(|a, b| a == b).map(|run| run.len() as u32);
        tied_in_both += Ties::new(equal).pairs;
        start = end;
    }
    (inversions(&mut by_x) as f64, tied_in_both)
}

/// Number of pairs i < j with values[i] > values[j]; leaves the values sorted.
fn inversions(values: &mut [f64]) -> u64 {
    let mut merged = values.to_vec();
    let (mut width, mut count) = (1, 0);
    while width < values.len() {
        for (from, to) in values.chunks(2 * width).zip(merged.chunks_mut(2 * width)) {
            let (left, right) = from.split_at(width.min(from.len()));
            let (mut l, mut r) = (0, 0);
            for slot in to {
                // Strictly less, so that equal values do not count as an inversion.
                let take_right = r < right.len() && (l == left.len() || right[r] < left[l]);
                if take_right {
                    count += (left.len() - l) as u64;
                    *slot = right[r];
                    r += 1;
                } else {
                    *slot = left[l];
                    l += 1;
                }
            }
        }
        values.copy_from_slice(&merged);
        width *= 2;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inversions_equal_their_definition() {
        let mut rng = crate::rng::SplitMix64::new(3);
        for n in [0, 1, 2, 3, 7, 8, 9, 31, 100] {
            let mut values: Vec<f64> = (0..n).map(|_| f64::from(rng.below(20))).collect();
            let definition: u64 =
                (0..n).map(|i| values[i..].iter().filter(|later| **later < values[i]).count() as u64).sum();
            assert_eq!(inversions(&mut values), definition, "n {n}");
            assert!(values.is_sorted());
        }
    }
}
