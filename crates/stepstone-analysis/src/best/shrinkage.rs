//! Shrinking of means to their common centre, against the winner's curse.

/// Means shrunk to their centre.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shrunk {
    /// Variance of the true means.
    pub(super) tau2: f64,
    /// Weighted mean of the means.
    pub(super) center: f64,
    /// For each mean: the shrunk mean and its variance.
    pub(super) means: Vec<(f64, f64)>,
}

/// Shrinks (mean, variance) pairs by the random-effects model; `None` below three of them. tau^2 by Paule and Mandel
/// 1982. Reference: `combine_effects(method_re="iterated")` of statsmodels.
pub(super) fn shrink(means: &[(f64, f64)]) -> Option<Shrunk> {
    if means.len() < 3 {
        return None;
    }
    let tau2 = paule_mandel(means);
    let (center, weights) = weighted_mean(means, tau2);
    let shrunk = |&(mean, variance): &(f64, f64)| {
        // The part of the distance to the centre that is noise rather than a true difference.
        let share = variance / (variance + tau2);
        // The second term of the variance is the uncertainty of the centre itself.
        (mean - share * (mean - center), (1.0 - share) * variance + share * share / weights)
    };
    Some(Shrunk { tau2, center, means: means.iter().map(shrunk).collect() })
}

/// The weighted mean and the sum of the weights 1 / (variance + tau^2).
fn weighted_mean(means: &[(f64, f64)], tau2: f64) -> (f64, f64) {
    let (mut sum, mut weights) = (0.0, 0.0);
    let shift = means[0].0; // sums of differences lose fewer digits than sums of scores near 70
    for &(mean, variance) in means {
        let weight = 1.0 / (variance + tau2);
        sum += weight * (mean - shift);
        weights += weight;
    }
    (shift + sum / weights, weights)
}

/// Sum of w (mean - centre)^2, which falls as tau^2 grows, less its expectation.
fn excess(means: &[(f64, f64)], tau2: f64) -> f64 {
    let (center, _) = weighted_mean(means, tau2);
    let squares: f64 = means.iter().map(|&(mean, variance)| (mean - center).powi(2) / (variance + tau2)).sum();
    squares - (means.len() - 1) as f64
}

/// The root of [`excess`], 0 if there is none above 0; by bisection, whose steps halve to the last bit.
fn paule_mandel(means: &[(f64, f64)]) -> f64 {
    if excess(means, 0.0) <= 0.0 {
        return 0.0;
    }
    // Doubling brackets the root whatever the unit of the scores is.
    let mut high = 1.0;
    while excess(means, high) > 0.0 {
        high *= 2.0;
    }
    let mut low = if high > 1.0 { high / 2.0 } else { 0.0 };
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return middle;
        }
        if excess(means, middle) > 0.0 { low = middle } else { high = middle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference: statsmodels 0.15.0 `combine_effects` for tau^2 and the centre, and from these the formulas of [`shrink`],
    /// printed by tools/golden/make_analysis_hand.py.
    #[test]
    fn five_means_by_statsmodels() {
        let means: Vec<(f64, f64)> = [2.1, -0.4, 3.3, 0.9, 1.2].into_iter().zip([0.5, 0.4, 0.9, 0.3, 0.6]).collect();
        let shrunk = shrink(&means).unwrap();
        assert!((shrunk.tau2 - 1.289_579_170_6).abs() < 1e-9, "{}", shrunk.tau2);
        assert!((shrunk.center - 1.317_978_059_3).abs() < 1e-9, "{}", shrunk.center);
        let want = [
            (1.881_506_75, 0.388_527_52),
            (0.006_723_30, 0.325_567_54),
            (2.485_313_89, 0.591_154_76),
            (0.978_884_66, 0.256_260_07),
            (1.237_461_69, 0.445_937_52),
        ];
        for (got, want) in shrunk.means.iter().zip(want) {
            assert!((got.0 - want.0).abs() < 1e-8 && (got.1 - want.1).abs() < 1e-8, "{got:?} vs {want:?}");
        }
    }

    #[test]
    fn means_nearer_than_their_noise_shrink_to_one() {
        let shrunk = shrink(&[(70.0, 1.0), (70.5, 1.0), (69.5, 1.0)]).unwrap();
        assert_eq!((shrunk.tau2, shrunk.center), (0.0, 70.0));
        assert!(shrunk.means.iter().all(|mean| *mean == (70.0, 1.0 / 3.0)), "{shrunk:?}");
        assert_eq!(shrink(&[(1.0, 1.0), (2.0, 1.0)]), None);
    }
}
