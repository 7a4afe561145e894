//! The exponential, in a form that vectorises.

/// e^x, relative error below 3e-7 for x in [-87, 88]; smaller x give e^-87.3, larger e^88.
// x = n ln 2 + r with |r| <= ln 2 / 2; e^r by the minimax polynomial of the Cephes library (Moshier 1989, `expf`).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to the nearest integer
    // A little inside the ends where 2^n would leave the range of normal numbers. `clamp` passes NaN on, so that a run
    // that diverges stays visible.
    let x = x.clamp(-87.3, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // ln 2 in two parts (Cody and Waite): a single f32 is off by 2e-9, which n, up to 127, would multiply.
    // The first part is 355/512, which n times is exact.
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    // Horner's scheme for p in e^r = 1 + r + r^2 p, whose first two coefficients are kept exact.
    let mut p = 1.987_569_1e-4f32;
    p = p.mul_add(r, 1.398_2e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 5.000_000_1e-1);
    let y = (p * r).mul_add(r, r) + 1.0;
    // The low bits of `shifted` hold n: moved into the exponent they are 2^n.
    y * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exp_of_all(x: &[f32]) -> Vec<f32> {
        crate::simd::vectorize(
            crate::simd::InstructionSet::best(),
            #[inline(always)]
            || x.iter().map(|x| exp(*x)).collect(),
        )
    }

    #[test]
    fn within_two_ulp_of_f64() {
        let x: Vec<f32> = (0..1_000_000).map(|i| -87.3 + 175.3 * i as f32 / 1e6).collect();
        for (x, y) in x.iter().zip(exp_of_all(&x)) {
            let want = f64::from(*x).exp();
            let ulp = f64::from(f32::from_bits((want as f32).to_bits() + 1)) - f64::from(want as f32);
            assert!((f64::from(y) - want).abs() <= 2.0 * ulp, "exp({x}) = {y}, want {want}");
        }
    }

    #[test]
    fn ends_of_the_range() {
        assert_eq!(exp(0.0), 1.0);
        for far in [-88.0, -1e30, f32::NEG_INFINITY] {
            assert!(exp(far) > 0.0 && exp(far) < 1.3e-38, "exp({far}) = {}", exp(far));
        }
        assert_eq!([exp(1e30), exp(f32::INFINITY)], [exp(88.0); 2]);
        assert!(exp(f32::NAN).is_nan(), "a diverged training must show");
    }

    #[test]
    fn vector_and_scalar_paths_give_the_same_bits() {
        let x: Vec<f32> = (0..4097).map(|i| -90.0 + 0.045 * i as f32).collect();
        for (x, y) in x.iter().zip(exp_of_all(&x)) {
            assert_eq!(exp(*x).to_bits(), y.to_bits(), "exp({x})");
        }
    }
}
