//! Many tests at once: adjusted p-values. References: Holm 1979; Benjamini and Hochberg 1995.

/// Holm's adjusted p-values: the largest of (m - rank + 1) p over the smaller p, at most 1. Equal p stay equal. Valid
/// under any dependence. Each p must lie in 0..1.
pub(crate) fn holm(p: &[f64]) -> Vec<f64> {
    let order = ascending(p);
    // A running maximum: a larger p must not get a smaller adjusted one.
    let (m, mut adjusted, mut highest) = (p.len(), vec![0.0; p.len()], 0.0f64);
    for (rank, &i) in order.iter().enumerate() {
        highest = highest.max((p[i] * (m - rank) as f64).min(1.0));
        adjusted[i] = highest;
    }
    adjusted
}

/// Benjamini and Hochberg's adjusted p-values: the smallest of m p / rank over the larger p, at most 1. Valid for
/// independent tests and under positive regression dependence; for two-sided tests against one shared baseline it is an
/// approximation. Each p must lie in 0..1.
pub(crate) fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let order = ascending(p);
    // A running minimum from the largest p down, by the same reasoning.
    let (m, mut adjusted, mut lowest) = (p.len(), vec![0.0; p.len()], 1.0f64);
    for (rank, &i) in order.iter().enumerate().rev() {
        // The ratio first: it is at least 1 and rounds to at least 1, so that no adjusted p falls below its own.
        lowest = lowest.min(p[i] * (m as f64 / (rank + 1) as f64));
        adjusted[i] = lowest;
    }
    adjusted
}

/// Applies an adjustment to the p-values that exist; undefined ones stay outside the family.
pub(crate) fn over_defined(p: &[Option<f64>], adjust: fn(&[f64]) -> Vec<f64>) -> Vec<Option<f64>> {
    // A cell without a p-value was not tested, so it must not enlarge the family.
    let defined: Vec<f64> = p.iter().flatten().copied().collect();
    let mut adjusted = adjust(&defined).into_iter();
    p.iter().map(|p| p.and_then(|_| adjusted.next())).collect()
}

fn ascending(p: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference: statsmodels 0.15.0 `multipletests`, printed by tools/golden/make_analysis_hand.py.
    #[test]
    fn five_p_values_by_statsmodels() {
        let p = [0.001, 0.04, 0.03, 0.005, 0.2];
        let close = |a: Vec<f64>, b: [f64; 5]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(close(holm(&p), [0.005, 0.09, 0.09, 0.02, 0.2]));
        assert!(close(benjamini_hochberg(&p), [0.005, 0.05, 0.05, 0.0125, 0.2]));
        assert_eq!((holm(&[]), benjamini_hochberg(&[])), (vec![], vec![]));
        assert_eq!(holm(&[0.6, 0.6, 0.01]), [1.0, 1.0, 0.03], "at most 1, and equal p stay equal");
        assert_eq!(over_defined(&[None, Some(0.02), Some(0.03)], holm), [None, Some(0.04), Some(0.04)]);
    }
}
