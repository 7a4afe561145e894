//! Element-wise hyperbolic tangent, from the system's libm: one row per sequence, so speed does not matter.

/// y = tanh(x).
///
/// # Panics
/// If the lengths differ.
pub fn forward(x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "tanh: lengths differ");
    y.iter_mut().zip(x).for_each(|(y, x)| *y = x.tanh());
}

/// d_x = d_y (1 - y^2), overwritten.
///
/// # Panics
/// If the lengths differ.
pub fn backward(d_y: &[f32], y: &[f32], d_x: &mut [f32]) {
    assert_eq!((d_y.len(), y.len()), (d_x.len(), d_x.len()), "tanh: lengths differ");
    d_x.iter_mut().zip(d_y).zip(y).for_each(|((d_x, d_y), y)| *d_x = d_y * (1.0 - y * y));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, random};

    #[test]
    fn gradient_is_the_slope() {
        for len in [0, 1, 7, 8, 9, 31, 97] {
            let (x, d_y) = (random(1, len), random(2, len));
            let (mut y, mut d_x) = (vec![f32::NAN; len], vec![f32::NAN; len]);
            forward(&x, &mut y);
            backward(&d_y, &y, &mut d_x);
            let h = 1e-6;
            let slope = |x: f32| ((f64::from(x) + h).tanh() - (f64::from(x) - h).tanh()) / (2.0 * h);
            let want: Vec<f64> = x.iter().zip(&d_y).map(|(x, d)| slope(*x) * f64::from(*d)).collect();
            close("y", &y, &x.iter().map(|x| f64::from(*x).tanh()).collect::<Vec<_>>(), 2e-7);
            // 1 - y^2 loses up to an epsilon; the difference quotient is good to 1e-10.
            close("d_x", &d_x, &want, 1e-6);
        }
    }
}
