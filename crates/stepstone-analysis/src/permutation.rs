//! The exact permutation test of two small arms.

/// The largest number of splits that are enumerated.
// Covers 3 against 10 and 7 against 7 restarts; a whole map is still enumerated in milliseconds.
const MOST_SPLITS: u64 = 5_000;

/// Two-sided permutation p of |mean x - mean y| over all C(n + n0, n) splits of the pooled scores, counted with a
/// tolerance of 1e-9; `None` if an arm is empty or there are more than 5,000 splits. Null hypothesis: the scores are
/// exchangeable, which also requires equal spread. Reference: `scipy.stats.permutation_test`.
pub(crate) fn exact_p(x: &[f64], y: &[f64]) -> Option<f64> {
    let (n, n0) = (x.len(), y.len());
    let splits = splits(n + n0, n).filter(|_| n > 0 && n0 > 0)?;
    // Shifted by one score, so that sums of scores near 70 keep the digits that tell splits apart.
    let first = x[0];
    let pooled: Vec<f64> = x.iter().chain(y).map(|value| value - first).collect();
    let total: f64 = pooled.iter().sum();
    let difference = |sum: f64| (sum / n as f64 - (total - sum) / n0 as f64).abs();
    // The tolerance counts splits that equal the observed one but for the order of the additions.
    let observed = difference(pooled[..n].iter().sum()) - 1e-9;
    let mut hits = 0u64;
    each_sum(&pooled, n, 0.0, &mut |sum| hits += u64::from(difference(sum) >= observed));
    Some(hits as f64 / splits as f64)
}

/// C(m, n) if it is at most [`MOST_SPLITS`].
fn splits(m: usize, n: usize) -> Option<u64> {
    let mut count = 1u64;
    for i in 0..n.min(m - n) as u64 {
        // Each intermediate value is itself a binomial coefficient, so the division is exact.
        count = count * (m as u64 - i) / (i + 1);
        // Checked in every step: C(m, n) overflows u64 for arms of a few dozen runs.
        if count > MOST_SPLITS {
            return None;
        }
    }
    Some(count)
}

/// Calls `visit` with the sum of every choice of `left` values.
fn each_sum(values: &[f64], left: usize, sum: f64, visit: &mut impl FnMut(f64)) {
    if left == 0 {
        return visit(sum);
    }
    for i in 0..=values.len() - left {
        each_sum(&values[i + 1..], left - 1, sum + values[i], visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smallest_p_values_are_those_of_the_counts() {
        let low = |n: usize| (0..n).map(|i| i as f64).collect::<Vec<_>>();
        let high = |n: usize| (0..n).map(|i| 100.0 + i as f64).collect::<Vec<_>>();
        for (n, n0, want) in [(3, 3, 2.0 / 20.0), (4, 4, 2.0 / 70.0), (5, 5, 2.0 / 252.0), (3, 10, 1.0 / 286.0)] {
            assert_eq!(exact_p(&high(n), &low(n0)), Some(want), "{n} v {n0}");
        }
        assert_eq!(exact_p(&[71.2, 72.5, 70.9], &[69.8, 70.1, 70.6]), Some(0.1)); // 2 of the 20 splits
        assert_eq!(exact_p(&[1.0, 1.0], &[1.0, 1.0]), Some(1.0));
        assert_eq!(exact_p(&[1.0], &[]), None);
        assert_eq!(exact_p(&low(8), &high(8)), None);
    }
}
