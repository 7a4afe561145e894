//! Softmax cross-entropy of rows of logits; few rows, so libm's exponential and one thread.

/// probabilities = softmax(logits) by row `[rows, classes]`; losses = -ln probability of the label `[rows]`, nats.
///
/// # Panics
/// If a label is not a class or a length does not fit.
pub fn forward(classes: usize, logits: &[f32], labels: &[u32], probabilities: &mut [f32], losses: &mut [f32]) {
    let rows = labels.len();
    assert_eq!([logits.len(), probabilities.len(), losses.len()], [rows * classes, rows * classes, rows]);
    let out = probabilities.chunks_exact_mut(classes).zip(losses);
    for ((row, label), (p, loss)) in logits.chunks_exact(classes).zip(labels).zip(out) {
        let max = row.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        p.iter_mut().zip(row).for_each(|(p, z)| *p = (z - max).exp());
        let sum: f32 = p.iter().sum();
        p.iter_mut().for_each(|p| *p /= sum);
        *loss = sum.ln() - (row[*label as usize] - max);
    }
}

/// d_logits = (probabilities - one_hot(label)) * scale, overwritten.
///
/// # Panics
/// If a label is not a class or a length does not fit.
pub fn backward(classes: usize, probabilities: &[f32], labels: &[u32], scale: f32, d_logits: &mut [f32]) {
    assert_eq!([probabilities.len(), d_logits.len()], [labels.len() * classes; 2]);
    let rows = probabilities.chunks_exact(classes).zip(d_logits.chunks_exact_mut(classes));
    for ((p, d), label) in rows.zip(labels) {
        d.copy_from_slice(p);
        d[*label as usize] -= 1.0;
        d.iter_mut().for_each(|d| *d *= scale);
    }
}
