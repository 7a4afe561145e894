//! A difference of two means: interval and p-value from what is known about the two spreads.

use crate::options::Method;
use crate::special::{t_quantile, t_two_sided};

/// Variance of a mean and the degrees of freedom that it was estimated with (may be infinite).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Precision {
    /// Squared standard error of the mean.
    pub variance: f64,
    /// Degrees of freedom.
    pub df: f64,
}

/// Standard error, interval and two-sided test of a difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Test {
    /// Standard error.
    pub se: f64,
    /// Degrees of freedom of the reference distribution.
    pub df: f64,
    /// Lower end of the 1 - alpha interval.
    pub lo: f64,
    /// Upper end of the 1 - alpha interval.
    pub hi: f64,
    /// Difference over standard error.
    pub t: f64,
    /// Two-sided p-value.
    pub p: f64,
}

/// Tests `delta` = mean x - mean y. `None` if the standard error is 0.
///
/// Moderated variances take the smaller df of the two arms: Satterthwaite's formula would treat prior information as
/// if it were data, and covers 0.92 where 0.95 is claimed (3 restarts; docs/statistics.md). Welch's test takes
/// Satterthwaite's. Sources: Welch 1947; Satterthwaite 1946; Smyth 2004.
pub(crate) fn compare(delta: f64, x: Precision, y: Precision, method: Method, alpha: f64) -> Option<Test> {
    // The arms are treated as independent. Equal seeds correlate them a little, which makes the test conservative.
    let variance = x.variance + y.variance;
    let se = variance.sqrt();
    // Two constant arms would give an infinite t from rounding alone.
    if se.is_nan() || se <= 0.0 {
        return None;
    }
    let df = match method {
        // The smaller one is conservative and needs no assumption about how the prior was learnt.
        Method::Moderated => x.df.min(y.df),
        // In shares of the variance, so that tiny scores do not underflow.
        Method::Welch => 1.0 / ((x.variance / variance).powi(2) / x.df + (y.variance / variance).powi(2) / y.df),
    };
    Some(with_se(delta, se, df, alpha))
}

/// Interval and test of `delta` with a known standard error and df.
pub(crate) fn with_se(delta: f64, se: f64, df: f64, alpha: f64) -> Test {
    let half = t_quantile(1.0 - alpha / 2.0, df) * se;
    let t = delta / se;
    Test { se, df, lo: delta - half, hi: delta + half, t, p: t_two_sided(t, df) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moments::{mean, variance};

    /// Reference: SciPy 1.17.1 `ttest_ind(equal_var=False)`, printed by tools/golden/make_analysis_hand.py.
    #[test]
    fn welch_by_scipy() {
        let arm = |v: &[f64]| Precision { variance: variance(v).unwrap() / v.len() as f64, df: v.len() as f64 - 1.0 };
        let even =
            [0.543_650_214_3, 2.859_405_940_6, 2.513_871_291_9, 0.090_775_987_0, -0.412_606_272_6, 3.145_939_605_6];
        let uneven =
            [0.881_879_306_4, 5.985_369_227_6, 1.330_491_967_3, 0.231_800_442_6, -0.985_826_856_8, 3.332_493_523_5];
        let arms: [(&[f64], [f64; 6]); 2] = [(&[69.8, 70.1, 70.6], even), (&[69.8, 70.1, 70.6, 72.9, 68.4], uneven)];
        for (y, want) in arms {
            let x = [71.2, 72.5, 70.9];
            let test = compare(mean(&x) - mean(y), arm(&x), arm(y), Method::Welch, 0.05).unwrap();
            let got = [test.se, test.df, test.t, test.p, test.lo, test.hi];
            for (got, want) in got.iter().zip(want) {
                assert!((got - want).abs() < 1e-9, "{got} vs {want}");
            }
        }
        assert_eq!(compare(1.0, arm(&[1.0, 1.0]), arm(&[2.0, 2.0]), Method::Welch, 0.05), None);
    }
}
