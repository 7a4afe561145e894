//! GELU in its erf form, z Phi(z) (Hendrycks and Gimpel 2016), and its derivative Phi(z) + z phi(z).

use crate::exp::exp;
use crate::simd::vectorize;
use crate::threads::Threads;

/// Value and derivative. One exponential serves both: Phi by Abramowitz and Stegun 7.1.26, absolute error below 2e-7.
#[inline(always)]
pub fn gelu(z: f32) -> (f32, f32) {
    let t = 1.0 / (z.abs() * std::f32::consts::FRAC_1_SQRT_2).mul_add(0.327_591_1, 1.0);
    let mut p = 1.061_405_4f32;
    p = p.mul_add(t, -1.453_152);
    p = p.mul_add(t, 1.421_413_8);
    p = p.mul_add(t, -0.284_496_72);
    p = p.mul_add(t, 0.254_829_6);
    let e = exp(-0.5 * z * z);
    let tail = 0.5 * p * t * e; // Phi(-|z|)
    let cdf = if z < 0.0 { tail } else { 1.0 - tail };
    (z * cdf, (z * e).mul_add(0.398_942_3, cdf))
}

/// y = gelu(y + bias) by rows of `bias.len()`, and the derivative there where asked for.
pub(crate) fn forward_with_bias(bias: &[f32], y: &mut [f32], derivative: Option<&mut [f32]>) {
    vectorize(
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
    const BLOCK: usize = 1 << 15;
    assert_eq!(d.len(), derivative.len(), "gelu: lengths differ");
    let blocks = d.chunks_mut(BLOCK).zip(derivative.chunks(BLOCK)).collect();
    threads.for_each(blocks, |(d, derivative): (&mut [f32], &[f32])| {
        vectorize(
            #[inline(always)]
            || d.iter_mut().zip(derivative).for_each(|(d, g)| *d *= g),
        );
    });
}

#[cfg(test)]
mod tests {
    /// erf by its Taylor series, good to 1e-13 for |x| < 6 in f64 where the terms stay small enough; else +-1.
    fn erf(x: f64) -> f64 {
        if x.abs() > 3.5 {
            // Continued fraction of erfc (Abramowitz and Stegun 7.1.14), from the far end.
            let mut f = x.abs();
            for k in (1..120).rev() {
                f = x.abs() + f64::from(k) / 2.0 / f;
            }
            return x.signum() * (1.0 - (-x * x).exp() / (f * std::f64::consts::PI.sqrt()));
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn gelu_and_its_derivative_are_near_their_definition() {
        for i in -12_000..=12_000 {
            let z = f64::from(i) / 1000.0;
            let cdf = 0.5 * (1.0 + erf(z / std::f64::consts::SQRT_2));
            let pdf = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let (y, d) = super::gelu(z as f32);
            // 2e-7 of Phi, times |z|, and the rounding of the result.
            let bound = 2e-7 * (1.0 + z.abs()) + 1e-7;
            assert!((f64::from(y) - z * cdf).abs() < bound, "z {z}: {y} and {}", z * cdf);
            assert!((f64::from(d) - cdf - z * pdf).abs() < 5e-7, "z {z}: {d} and {}", cdf + z * pdf);
        }
    }
}
