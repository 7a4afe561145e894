//! The expected best of n restarts: the score that a study with n restarts would have reported.

/// The expected best of n = 1, 2, ... of the given scores, drawn without replacement: sum over the sorted scores v_i of
/// v_i C(i - 1, n - 1) / C(N, n). "Best" is the highest, or the lowest where less is better.
///
/// Sources: Dodge et al. 2019; the unbiased form is that of Tang et al. 2020.
pub(crate) fn expected_best(scores: &[f64], higher_is_better: bool) -> Vec<f64> {
    let mut best_first = scores.to_vec();
    // Sorted from the best down, the direction of the metric no longer matters below.
    best_first.sort_unstable_by(|a, b| if higher_is_better { b.total_cmp(a) } else { a.total_cmp(b) });
    (1..=scores.len()).map(|n| expected_best_of(&best_first, n)).collect()
}

/// From the best score down: the best is in the draw with probability n/N, and each next one is the draw's best with the
/// probability of the one before times the share of draws that miss it.
fn expected_best_of(best_first: &[f64], n: usize) -> f64 {
    let Some((&best, rest)) = best_first.split_first() else { return f64::NAN };
    let mut weight = n as f64 / best_first.len() as f64;
    // Sums about the best score: equal scores give exactly that score.
    let mut shortfall = 0.0;
    for (i, score) in rest.iter().enumerate() {
        let left = rest.len() - i;
        weight *= (left + 1).saturating_sub(n) as f64 / left as f64;
        // Later weights are smaller still, and a score has at most 16 digits.
        if weight < 1e-18 {
            break;
        }
        shortfall += weight * (best - score);
    }
    best - shortfall
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference: the mean over all draws of n of the 5 scores of the best in the draw, listed one by one by
    /// tools/golden/make_analysis_hand.py.
    #[test]
    fn five_scores_by_listing_every_draw() {
        let want = [59.8, 63.2, 64.3, 65.2, 66.0];
        let scores = [60.0, 62.0, 61.0, 66.0, 50.0];
        let found = expected_best(&scores, true);
        assert!(found.iter().zip(want).all(|(found, want)| (found - want).abs() < 1e-12), "{found:?}");
        let lower = expected_best(&scores.map(|score| -score), false);
        assert_eq!(lower, found.iter().map(|score| -score).collect::<Vec<_>>(), "negated and back");
    }

    #[test]
    fn ends_are_the_mean_and_the_best() {
        let scores: Vec<f64> = (0..1_000).map(|i| f64::from(i * 37 % 1_000)).collect();
        let found = expected_best(&scores, true);
        assert!((found[0] - 499.5).abs() < 1e-9, "{}", found[0]);
        assert_eq!(found[999], 999.0);
        assert!(found.is_sorted());
        assert_eq!(expected_best(&[0.3; 3], true), [0.3; 3]);
        assert!(expected_best(&[], true).is_empty());
    }
}
