//! Picking rows of a matrix, and the gradient of that.

/// out[i] = x[rows[i]], rows of `columns`.
///
/// # Panics
/// If a row lies outside `x` or the lengths do not fit.
pub fn gather(columns: usize, x: &[f32], rows: &[u32], out: &mut [f32]) {
    assert_eq!(out.len(), rows.len() * columns, "gather: lengths");
    for (out, row) in out.chunks_exact_mut(columns).zip(rows) {
        out.copy_from_slice(&x[*row as usize * columns..][..columns]);
    }
}

/// d_x[rows[i]] += d_out[i], in order.
///
/// # Panics
/// If a row lies outside `d_x` or the lengths do not fit.
pub fn scatter_add(columns: usize, d_out: &[f32], rows: &[u32], d_x: &mut [f32]) {
    assert_eq!(d_out.len(), rows.len() * columns, "scatter_add: lengths");
    for (d_out, row) in d_out.chunks_exact(columns).zip(rows) {
        d_x[*row as usize * columns..][..columns].iter_mut().zip(d_out).for_each(|(x, d)| *x += d);
    }
}
