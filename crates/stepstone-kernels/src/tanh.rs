//! Element-wise hyperbolic tangent, from the system's libm.

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
