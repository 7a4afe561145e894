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
        // Less the largest logit: no exponential overflows, and the sum is at least 1.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, difference_quotients, random};

    /// The definition: sum over rows of -ln softmax(logits)[label].
    fn loss(classes: usize, logits: &[f64], labels: &[u32]) -> Vec<f64> {
        let of = |(z, label): (&[f64], &u32)| z.iter().map(|z| z.exp()).sum::<f64>().ln() - z[*label as usize];
        logits.chunks(classes).zip(labels).map(of).collect()
    }

    #[test]
    fn follows_the_definition_and_its_slope() {
        for (rows, classes) in [(0, 3), (1, 1), (7, 2), (9, 3), (31, 97)] {
            let logits = random(1, rows * classes);
            let labels: Vec<u32> = (0..rows).map(|r| (r * 5 % classes) as u32).collect();
            let (mut p, mut losses) = (vec![f32::NAN; logits.len()], vec![f32::NAN; rows]);
            forward(classes, &logits, &labels, &mut p, &mut losses);
            let wide: Vec<f64> = logits.iter().map(|z| f64::from(*z)).collect();
            // The sum of C terms loses up to C epsilon, the logarithm and the difference one each.
            let bound = (classes + 4) as f64 * 6e-8 * 8.0;
            close("losses", &losses, &loss(classes, &wide, &labels), bound);
            let mut d = vec![f32::NAN; logits.len()];
            backward(classes, &p, &labels, 0.5, &mut d);
            let want = difference_quotients(&wide, |z| 0.5 * loss(classes, z, &labels).iter().sum::<f64>());
            close("d_logits", &d, &want, bound + 1e-8);
        }
    }

    #[test]
    fn large_logits_stay_finite_and_nan_shows() {
        let (mut p, mut losses) = ([0.0; 2], [0.0]);
        // The largest logit stands first and last, so that no other one can be subtracted in its place.
        forward(2, &[1000.0, 0.0], &[1], &mut p, &mut losses);
        assert_eq!((p, losses), ([1.0, 0.0], [1000.0]));
        forward(2, &[0.0, 1000.0], &[0], &mut p, &mut losses);
        assert_eq!((p, losses), ([0.0, 1.0], [1000.0]));
        forward(2, &[f32::NAN, 0.0], &[1], &mut p, &mut losses);
        assert!(losses[0].is_nan());
    }
}
