//! The correlation of one resample from its sums, the same for both ways to the sums.

/// Rho from the weighted sum of products of ranks and the two sums of squares; NaN if a column of the resample is
/// constant or it has fewer than 3 rows.
pub(super) fn rho(xy: f64, xx: f64, yy: f64, rows: u64) -> f64 {
    if rows < 3 || xx <= 0.0 || yy <= 0.0 { f64::NAN } else { (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0) }
}
