//! Correlation coefficients of two columns of scores: Spearman, Pearson, Kendall, with their p-values.
//!
//! References: `scipy.stats.spearmanr`, `pearsonr` and `kendalltau(method="asymptotic")`.

mod kendall;
mod ranks;
mod value;

use crate::moments::mean;
use crate::special::{normal_quantile, t_two_sided};

pub(crate) use kendall::tau_b;
pub(crate) use ranks::Ranks;
pub(crate) use value::{Coefficient, Undefined};

use value::{FEWEST, FEWEST_TESTED};

/// From this |r| on a correlation counts as perfect.
// Above it (1 - r^2) is rounding, and t would be a random huge number.
const PERFECT: f64 = 1.0 - 1e-12;

/// Spearman's rho: Pearson's r of average ranks, tested by t on n - 2 degrees of freedom.
/// # Errors
/// If there are fewer than 3 rows or a column is constant.
/// # Panics
/// If the lengths differ.
pub(crate) fn spearman(x: &[f64], y: &[f64]) -> Result<Coefficient, Undefined> {
    let (x, y) = (Ranks::new(x), Ranks::new(y));
    Ok(tested(spearman_of_ranks(&x, &y)?, x.len()))
}

/// Pearson's r, tested by t on n - 2 degrees of freedom.
/// # Errors
/// If there are fewer than 3 rows or a column is constant.
/// # Panics
/// If the lengths differ.
pub(crate) fn pearson(x: &[f64], y: &[f64]) -> Result<Coefficient, Undefined> {
    let n = x.len();
    Ok(tested(Centred::new(x).correlation(&Centred::new(y))?, n))
}

/// Kendall's tau-b with its asymptotic p-value, which accounts for ties.
/// # Errors
/// If there are fewer than 3 rows or a column is constant.
/// # Panics
/// If the lengths differ.
pub(crate) fn kendall(x: &[f64], y: &[f64]) -> Result<Coefficient, Undefined> {
    tau_b(&Ranks::new(x), &Ranks::new(y))
}

/// Two-sided p-value of a correlation `r` with `df` degrees of freedom (n - 2, less one for each variable that is held
/// fixed): 0 if it is perfect, `None` below 1 degree of freedom.
pub(crate) fn correlation_p(r: f64, df: f64) -> Option<f64> {
    if df < 1.0 || r.is_nan() {
        return None;
    }
    if r.abs() >= PERFECT {
        return Some(0.0);
    }
    Some(t_two_sided(r * (df / ((1.0 - r) * (1.0 + r))).sqrt(), df))
}

/// The 1 - `alpha` interval of a Spearman correlation over `k` rows; `None` if `k` <= 3 or the correlation is perfect.
/// Source: Bonett and Wright 2000: Fisher's z with variance (1 + rho^2/2)/(k - 3).
pub(crate) fn spearman_interval(rho: f64, k: usize, alpha: f64) -> Option<(f64, f64)> {
    if k <= 3 || rho.abs() >= PERFECT {
        return None;
    }
    // 1 + rho^2/2 in place of Pearson's 1: ranks vary more, and the plain interval covers too rarely.
    let half = normal_quantile(1.0 - alpha / 2.0) * ((1.0 + rho * rho / 2.0) / (k as f64 - 3.0)).sqrt();
    Some(((rho.atanh() - half).tanh(), (rho.atanh() + half).tanh()))
}

/// Rho from ranks.
pub(crate) fn spearman_of_ranks(x: &Ranks, y: &Ranks) -> Result<f64, Undefined> {
    cosine((&x.doubled, x.squares), (&y.doubled, y.squares))
}

/// A coefficient with the p-value of n rows.
pub(crate) fn tested(r: f64, n: usize) -> Coefficient {
    Coefficient { r, p: if n < FEWEST_TESTED { None } else { correlation_p(r, n as f64 - 2.0) } }
}

/// Scores about their mean, and the sum of their squares.
#[derive(Debug, Clone)]
pub(crate) struct Centred {
    pub(crate) values: Vec<f64>,
    pub(crate) squares: f64,
}

impl Centred {
    /// Equal scores give exact zeros.
    pub(crate) fn new(values: &[f64]) -> Self {
        let mean = mean(values);
        Self::from_deviations(values.iter().map(|value| value - mean).collect())
    }

    /// Takes values whose mean is already 0.
    pub(crate) fn from_deviations(values: Vec<f64>) -> Self {
        let squares = dot(&values, &values);
        Self { values, squares }
    }

    pub(crate) fn correlation(&self, other: &Self) -> Result<f64, Undefined> {
        cosine((&self.values, self.squares), (&other.values, other.squares))
    }
}

/// Cosine of two centred vectors that are given with their sums of squares.
fn cosine((x, xx): (&[f64], f64), (y, yy): (&[f64], f64)) -> Result<f64, Undefined> {
    // Here too, as `dot` is not reached if a column is short or constant.
    assert_eq!(x.len(), y.len(), "the two columns have different lengths");
    if x.len() < FEWEST {
        return Err(Undefined::Few);
    }
    if xx <= 0.0 || yy <= 0.0 {
        return Err(Undefined::Constant);
    }
    // Rounding can lead just beyond 1, where atanh and the t statistic have no value.
    Ok((dot(x, y) / (xx * yy).sqrt()).clamp(-1.0, 1.0))
}

/// Sum of `x[i] * y[i]` in eight interleaved sums, so that the order is fixed and the loop is vectorised.
/// # Panics
/// If the lengths differ.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len(), "the two columns have different lengths");
    let ((x8, x_rest), (y8, y_rest)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (x, y) in x8.iter().zip(y8) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let rest: f64 = x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference: SciPy 1.17.1 `spearmanr`, `kendalltau` and `pearsonr`, printed by tools/golden/make_analysis_hand.py.
    #[test]
    fn eight_rows_with_ties_by_scipy() {
        let (x, y) = ([1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0, 6.0], [2.0, 1.0, 3.0, 3.0, 5.0, 4.0, 7.0, 6.0]);
        for (found, r, p) in [
            (spearman(&x, &y), 0.915_168_322_8, 0.001_430_753_9),
            (kendall(&x, &y), 0.792_593_923_9, 0.007_852_676_5),
            (pearson(&x, &y), 0.900_896_839_8, 0.002_256_059_6),
        ] {
            let found = found.unwrap();
            assert!((found.r - r).abs() < 1e-9 && (found.p.unwrap() - p).abs() < 1e-9, "{found:?}");
        }
    }

    /// Reference: SciPy 1.17.1 `t` for the p-value, and Bonett and Wright's formula for the interval, printed by
    /// tools/golden/make_analysis_hand.py.
    #[test]
    fn eleven_intermediates_by_formula() {
        assert!((correlation_p(0.7, 9.0).unwrap() - 0.016_470_978_8).abs() < 1e-9);
        let (lo, hi) = spearman_interval(0.7, 11, 0.05).unwrap();
        assert!((lo - 0.093_830_943_4).abs() < 1e-9 && (hi - 0.927_541_493_3).abs() < 1e-9, "{lo} {hi}");
        assert_eq!((spearman_interval(0.7, 3, 0.05), spearman_interval(-1.0, 9, 0.05)), (None, None));
    }

    #[test]
    fn columns_of_different_lengths_panic_whichever_is_longer() {
        let columns: [&[f64]; 4] = [&[1.0, 2.0], &[2.0, 1.0, 3.0], &[1.0, 3.0, 2.0, 4.0], &[5.0; 5]];
        for coefficient in [spearman, pearson, kendall] {
            for (x, y) in columns.iter().flat_map(|x| columns.iter().map(move |y| (x, y))) {
                let panics = std::panic::catch_unwind(|| coefficient(x, y)).is_err();
                assert_eq!(panics, x.len() != y.len(), "{x:?} {y:?}");
            }
        }
    }

    #[test]
    fn few_rows_and_constant_columns_are_undefined() {
        for coefficient in [spearman, pearson, kendall] {
            assert_eq!(coefficient(&[1.0, 2.0], &[1.0, 2.0]), Err(Undefined::Few));
            assert_eq!(coefficient(&[], &[]), Err(Undefined::Few));
            assert_eq!(coefficient(&[0.1 + 0.2; 5], &[1.0, 2.0, 3.0, 4.0, 5.0]), Err(Undefined::Constant));
            let three = coefficient(&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0]).unwrap();
            assert_eq!(three.p, None, "three rows have a coefficient and no p-value");
        }
        let perfect = spearman(&[1.0, 2.0, 3.0, 4.0], &[-1.0, -2.0, -3.0, -40.0]).unwrap();
        assert_eq!(perfect, Coefficient { r: -1.0, p: Some(0.0) });
    }
}
