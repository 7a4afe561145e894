//! Picking rows of a matrix, and the gradient of that.

/// `out[i] = x[rows[i]]`, rows of `columns`.
///
/// # Panics
/// If a row lies outside `x` or the lengths do not fit.
pub fn gather(columns: usize, x: &[f32], rows: &[u32], out: &mut [f32]) {
    assert_eq!(out.len(), rows.len() * columns, "gather: lengths");
    // One thread: these are one row per sequence, too little work to hand out.
    for (out, row) in out.chunks_exact_mut(columns).zip(rows) {
        out.copy_from_slice(&x[*row as usize * columns..][..columns]);
    }
}

/// `d_x[rows[i]] += d_out[i]`, in order.
///
/// # Panics
/// If a row lies outside `d_x` or the lengths do not fit.
pub fn scatter_add(columns: usize, d_out: &[f32], rows: &[u32], d_x: &mut [f32]) {
    assert_eq!(d_out.len(), rows.len() * columns, "scatter_add: lengths");
    // In order and on one thread: two entries may name the same row.
    for (d_out, row) in d_out.chunks_exact(columns).zip(rows) {
        d_x[*row as usize * columns..][..columns].iter_mut().zip(d_out).for_each(|(x, d)| *x += d);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_and_adds_back() {
        let x = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let mut out = [f32::NAN; 6];
        gather(2, &x, &[2, 0, 2], &mut out);
        assert_eq!(out, [4.0, 5.0, 0.0, 1.0, 4.0, 5.0]);
        let mut d_x = [1.0; 6];
        scatter_add(2, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 0, 2], &mut d_x);
        assert_eq!(d_x, [4.0, 5.0, 1.0, 1.0, 7.0, 9.0]);
        gather(2, &[], &[], &mut []);
    }

    #[test]
    fn what_is_gathered_is_scattered_to_the_same_rows_at_odd_sizes() {
        for columns in [1usize, 7, 31] {
            for rows in [0u32, 1, 7, 31] {
                let x: Vec<f32> = (0..31 * columns).map(|i| i as f32).collect();
                // 5 and 31 have no common factor, so no row comes twice.
                let picked: Vec<u32> = (0..rows).map(|i| i * 5 % 31).collect();
                let mut out = vec![f32::NAN; picked.len() * columns];
                gather(columns, &x, &picked, &mut out);
                let mut back = vec![0.0; x.len()];
                scatter_add(columns, &out, &picked, &mut back);
                for (i, (back, x)) in back.iter().zip(&x).enumerate() {
                    let want = if picked.contains(&((i / columns) as u32)) { *x } else { 0.0 };
                    assert_eq!(*back, want, "{rows} rows of {columns}, element {i}");
                }
            }
        }
    }
}
