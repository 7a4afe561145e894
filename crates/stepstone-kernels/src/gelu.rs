//! GELU in its erf form, z Phi(z) (Hendrycks and Gimpel 2016), and its derivative Phi(z) + z phi(z).

use crate::exp::exp;
use crate::simd::{InstructionSet, vectorize};
use crate::threads::Threads;

/// Value and derivative. One exponential serves both: Phi by Abramowitz and Stegun 7.1.26, absolute error below 2e-7.
// The derivative is computed in the forward pass, where z and the exponential are at hand, and kept: the backward pass is
// then one product instead of another exponential.
#[inline(always)]
pub(crate) fn gelu(z: f32) -> (f32, f32) {
    let t = 1.0 / (z.abs() * std::f32::consts::FRAC_1_SQRT_2).mul_add(0.327_591_1, 1.0);
    let mut p = 1.061_405_4f32;
    p = p.mul_add(t, -1.453_152);
    p = p.mul_add(t, 1.421_413_8);
    p = p.mul_add(t, -0.284_496_72);
    p = p.mul_add(t, 0.254_829_6);
    let e = exp(-0.5 * z * z);
    let tail = 0.5 * p * t * e; // Phi(-|z|); both signs from the small side, where nothing cancels
    let cdf = if z < 0.0 { tail } else { 1.0 - tail };
    (z * cdf, (z * e).mul_add(0.398_942_3, cdf)) // 1 / sqrt(2 pi)
}

/// y = gelu(y + bias) by rows of `bias.len()`, and the derivative there if `derivative` is given.
pub(crate) fn forward_with_bias(set: InstructionSet, bias: &[f32], y: &mut [f32], derivative: Option<&mut [f32]>) {
    vectorize(
        set,
        #[inline(always)]
        || match derivative {
            Some(derivative) => {
                let rows = y.chunks_exact_mut(bias.len()).zip(derivative.chunks_exact_mut(bias.len()));
                for (y, derivative) in rows {
                    for ((y, d), b) in y.iter_mut().zip(derivative).zip(bias) {
                        (*y, *d) = gelu(*y + b);
                    }
                }
            }
            None => {
                for y in y.chunks_exact_mut(bias.len()) {
                    y.iter_mut().zip(bias).for_each(|(y, b)| *y = gelu(*y + b).0);
                }
            }
        },
    );
}

/// d *= derivative, element by element.
///
/// # Panics
/// If the lengths differ.
pub fn backward(threads: &Threads, d: &mut [f32], derivative: &[f32]) {
    // 128 KiB: enough work to be worth a thread, small enough for L2.
    const BLOCK: usize = 1 << 15;
    assert_eq!(d.len(), derivative.len(), "gelu: lengths differ");
    let blocks = d.chunks_mut(BLOCK).zip(derivative.chunks(BLOCK)).collect();
    threads.for_each(blocks, |(d, derivative): (&mut [f32], &[f32])| {
        vectorize(
            threads.instructions(),
            #[inline(always)]
            || d.iter_mut().zip(derivative).for_each(|(d, g)| *d *= g),
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close_each, random, same_bits};

    /// The definition: z Phi(z) and Phi(z) + z phi(z).
    fn by_definition(z: f64) -> (f64, f64) {
        let cdf = 0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2);
        let density = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
        (z * cdf, cdf + z * density)
    }

    #[test]
    fn value_and_derivative_are_within_3e_7_of_the_definition() {
        let z: Vec<f32> = (0..=240_000).map(|i| -12.0 + 1e-4 * i as f32).collect();
        let (mut y, mut d) = (z.clone(), vec![f32::NAN; z.len()]);
        forward_with_bias(InstructionSet::best(), &vec![0.0; z.len()], &mut y, Some(&mut d));
        let want: Vec<(f64, f64)> = z.iter().map(|z| by_definition(f64::from(*z))).collect();
        let [value, slope]: [Vec<f64>; 2] = [want.iter().map(|w| w.0).collect(), want.iter().map(|w| w.1).collect()];
        // The series of Phi is good to 1.5e-7, and z Phi(z) to 3e-7, as the error falls with |z|; a rounding comes on top.
        let rounding = f64::from(f32::EPSILON);
        close_each("gelu", &y, &value, |i| 3e-7 + value[i].abs() * rounding);
        close_each("gelu'", &d, &slope, |_| 3e-7 + rounding);
    }

    #[test]
    fn far_tails_and_nan() {
        assert_eq!(gelu(f32::INFINITY).0, f32::INFINITY);
        assert_eq!(gelu(100.0), (100.0, 1.0));
        let (value, slope) = gelu(-100.0);
        assert!(value.abs() < 1e-35 && slope.abs() < 1e-35, "{value:e} {slope:e}");
        assert!(gelu(f32::NAN).0.is_nan());
    }

    #[test]
    fn rows_equal_the_scalar_gelu_with_and_without_derivative() {
        for (rows, columns) in [(0, 8), (1, 1), (1, 7), (7, 9), (31, 97)] {
            let (z, bias) = (random(1, rows * columns), random(2, columns));
            let (mut y, mut alone, mut derivative) = (z.clone(), z.clone(), vec![f32::NAN; z.len()]);
            forward_with_bias(InstructionSet::best(), &bias, &mut y, Some(&mut derivative));
            forward_with_bias(InstructionSet::best(), &bias, &mut alone, None);
            for i in 0..z.len() {
                let want = gelu(z[i] + bias[i % columns]);
                assert_eq!(
                    (y[i], derivative[i], alone[i]),
                    (want.0, want.1, want.0),
                    "{rows} x {columns}, element {i}"
                );
            }
        }
    }

    #[test]
    fn backward_multiplies() {
        for len in [0, 1, 7, 8, 9, 31, 97, 70_000] {
            let (d_y, derivative) = (random(1, len), random(2, len));
            let got = same_bits(|threads| {
                let mut d = d_y.clone();
                backward(threads, &mut d, &derivative);
                d
            });
            let want: Vec<f32> = d_y.iter().zip(&derivative).map(|(d, g)| d * g).collect();
            assert_eq!(got, want, "{len}");
        }
    }
}
