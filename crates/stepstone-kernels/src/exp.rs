//! The exponential, in a form that vectorises.

/// e^x, relative error below 3e-7 for x in [-87, 88]; smaller x give e^-87.3, larger e^88.
///
/// x = n ln 2 + r with |r| <= ln 2 / 2; e^r by the minimax polynomial of the Cephes library (Moshier 1989, `expf`).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to the nearest integer
    let x = x.clamp(-87.3, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
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
    #[test]
    fn exp_is_within_three_ten_millionths_of_the_f64_exponential() {
        for i in 0..350_000 {
            let x = -87.0 + i as f32 * 4.999e-4;
            let (got, want) = (f64::from(super::exp(x)), f64::from(x).exp());
            assert!(((got - want) / want).abs() < 3e-7, "x {x}: {got} and {want}");
        }
        assert!(super::exp(-1e30) > 0.0 && super::exp(-1e30) < 1.3e-38);
    }
}
