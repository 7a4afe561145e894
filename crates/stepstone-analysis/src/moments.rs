//! Mean and variance of the scores of one arm.

/// Mean of `values`, summed about the first value so that equal values give exactly that value. NaN if there is none.
pub(crate) fn mean(values: &[f64]) -> f64 {
    let Some(&first) = values.first() else { return f64::NAN };
    first + values.iter().map(|value| value - first).sum::<f64>() / values.len() as f64
}

/// Sample variance, divisor n - 1, in two passes; exactly 0 if all values are equal, `None` below two values.
pub(crate) fn variance(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    // The mean of equal values may be off by rounding, and a variance of 1e-30 is not 0, which floors and tests ask for.
    if values.iter().all(|value| *value == values[0]) {
        return Some(0.0);
    }
    let mean = mean(values);
    let squares = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
    Some(squares / (values.len() - 1) as f64)
}

/// Median, the mean of the middle two for an even number; `None` without values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => Some(sorted[n / 2]),
        _ => Some(f64::midpoint(sorted[n / 2 - 1], sorted[n / 2])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_variance_exactly_zero_and_even_counts_a_middle() {
        assert_eq!(variance(&[0.1 + 0.2; 7]), Some(0.0));
        assert_eq!(mean(&[0.1 + 0.2; 7]), 0.1 + 0.2);
        assert_eq!(variance(&[1.0]), None);
        // The mean 7/3 is rounded, so the last bit of the variance is not pinned.
        assert!((variance(&[1.0, 2.0, 4.0]).unwrap() - 7.0 / 3.0).abs() <= 2.0 * f64::EPSILON);
        assert_eq!(median(&[4.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }
}
