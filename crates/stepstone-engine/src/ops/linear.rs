//! Linear layer, with bias and GELU in one op.

use crate::cpu_run::{Run as CpuRun, disjoint};
use crate::gradients::Gradients;
use crate::layout::Param;
use crate::phases::Phase;
use crate::reference_run::Run;
use crate::value::Value;
use stepstone_kernels::{Write, gelu as gelu_kernel, gemm};

/// out = activation(x weight^T + bias). x `[R, k]`, weight `[n, k]`, bias `[n]`, out `[R, n]`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct Linear {
    pub x: Value,
    pub weight: Param,
    pub bias: Param,
    pub activation: Activation,
    pub out: Value,
}

/// The activation function after the product.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// No activation.
    None,
    /// GELU in its erf form, z Phi(z).
    Gelu {
        /// Phi(z) + z phi(z) `[R, n]`, kept for the backward pass; None in inference.
        derivative: Option<Value>,
    },
}

/// d_z = d_out * derivative (in place over d_out); d_weight += d_z^T x, d_bias += column sums of d_z, d_x = d_z weight.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct LinearBackward {
    pub x: Value,
    pub weight: Param,
    pub bias: Param,
    /// None without an activation.
    pub derivative: Option<Value>,
    pub d_out: Value,
    pub d_x: (Value, Write),
}

impl Linear {
    pub(crate) const PHASE: Phase = Phase::GemmForward;

    pub(crate) fn reads(&self) -> Vec<Value> {
        vec![self.x]
    }

    pub(crate) fn writes(&self) -> Vec<Value> {
        [self.out].into_iter().chain(self.activation.derivative()).collect()
    }

    pub(crate) fn backward(&self, gradients: &mut Gradients) -> Option<LinearBackward> {
        // All readers of `out` come later in the forward list, so its gradient is complete when this rule is derived.
        let d_out = gradients.gradient(self.out)?;
        Some(LinearBackward {
            x: self.x,
            weight: self.weight,
            bias: self.bias,
            derivative: self.activation.derivative(),
            d_out,
            d_x: gradients.target(self.x),
        })
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let (n, k) = (self.weight.rows, self.weight.columns);
        let (weight, bias) = (run.parameter(self.weight), run.parameter(self.bias));
        let mut out = Vec::new();
        for x in run.get(self.x).chunks_exact(k) {
            out.extend((0..n).map(|j| {
                let dot: f64 = x.iter().zip(&weight[j * k..]).map(|(x, w)| x * w).sum();
                dot + bias[j]
            }));
        }
        if let Activation::Gelu { derivative } = self.activation {
            if let Some(derivative) = derivative {
                run.set(derivative, out.iter().map(|z| gelu(*z).1).collect());
            }
            out.iter_mut().for_each(|z| *z = gelu(*z).0);
        }
        run.set(self.out, out);
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        let (threads, shape) = (run.threads, shape(run, self.x, self.weight));
        let (weight, bias) = (run.parameter(self.weight), run.parameter(self.bias));
        match self.activation {
            Activation::None => {
                let [x, out] = run.values([self.x, self.out]);
                gemm::forward(threads, shape, x, weight, Some(bias), out);
            }
            Activation::Gelu { derivative } => {
                let spans = [Some(self.x), Some(self.out), derivative].map(|v| run.optional_span(v));
                let [x, out, saved] = disjoint(run.activations, spans);
                gemm::forward_gelu(threads, shape, x, weight, bias, derivative.map(|_| saved), out);
            }
        }
        run.stopwatch.times.gemm_flops += shape.flops();
    }
}

impl Activation {
    fn derivative(self) -> Option<Value> {
        match self {
            Self::None => None,
            Self::Gelu { derivative } => derivative,
        }
    }
}

impl LinearBackward {
    pub(crate) const PHASE: Phase = Phase::DataGradient;

    pub(crate) fn reads(&self) -> Vec<Value> {
        let (d_x, write) = self.d_x;
        let added_to = (write == Write::Accumulate).then_some(d_x);
        [self.x, self.d_out].into_iter().chain(self.derivative).chain(added_to).collect()
    }

    pub(crate) fn writes(&self) -> Vec<Value> {
        vec![self.d_out, self.d_x.0]
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let (n, k) = (self.weight.rows, self.weight.columns);
        let weight = run.parameter(self.weight).to_vec();
        let x = run.get(self.x).to_vec();
        let mut d_z = run.get(self.d_out).to_vec();
        if let Some(derivative) = self.derivative {
            d_z.iter_mut().zip(run.get(derivative)).for_each(|(d, g)| *d *= g);
        }
        let (mut d_weight, mut d_bias, mut d_x) = (vec![0.0; n * k], vec![0.0; n], vec![0.0; x.len()]);
        for ((d_z, x), d_x) in d_z.chunks_exact(n).zip(x.chunks_exact(k)).zip(d_x.chunks_exact_mut(k)) {
            for j in 0..n {
                d_bias[j] += d_z[j];
                for c in 0..k {
                    d_weight[j * k + c] += d_z[j] * x[c];
                    d_x[c] += d_z[j] * weight[j * k + c];
                }
            }
        }
        run.add_gradient(self.weight, &d_weight);
        run.add_gradient(self.bias, &d_bias);
        run.write(self.d_x.0, self.d_x.1, d_x);
        run.set(self.d_out, d_z);
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        let (threads, shape) = (run.threads, shape(run, self.x, self.weight));
        // The first product after an update overwrites the zeros that the update left.
        let write = if run.first_gradient(self.weight) { Write::Overwrite } else { Write::Accumulate };
        let weight = run.parameter(self.weight);
        let spans = [Some(self.x), Some(self.d_out), Some(self.d_x.0), self.derivative].map(|v| run.optional_span(v));
        let [x, d_z, d_x, derivative] = disjoint(run.activations, spans);
        // In place: this op alone made `out`, so no other op reads d_out.
        if self.derivative.is_some() {
            gelu_kernel::backward(threads, d_z, derivative);
        }
        let [d_weight, d_bias] = disjoint(run.gradients, [self.weight.range(), self.bias.range()]);
        gemm::weight_gradient(threads, shape, d_z, x, write, d_weight, d_bias);
        // The lap falls between the two products, so that the time of each is reported separately.
        run.stopwatch.lap(threads, Phase::WeightGradient);
        run.stopwatch.times.gemm_flops += 2 * shape.flops();
        gemm::data_gradient(threads, shape, d_z, weight, self.d_x.1, d_x);
    }
}

fn shape(run: &CpuRun<'_>, x: Value, weight: Param) -> gemm::Shape {
    gemm::Shape { rows: run.rows(x), inputs: weight.columns, outputs: weight.rows }
}

/// GELU and its derivative, z Phi(z) and Phi(z) + z phi(z).
fn gelu(z: f64) -> (f64, f64) {
    // erfc(-z) instead of 1 + erf(z), which cancels to 0 for large negative z.
    let cdf = 0.5 * libm::erfc(-z / std::f64::consts::SQRT_2);
    let pdf = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    (z * cdf, cdf + z * pdf)
}

#[cfg(test)]
mod tests {
    use crate::gradient_check::{LENGTHS, WIDTHS, check};
    use crate::value::Rows;

    #[test]
    fn gradients_are_slopes_and_kernels_follow() {
        for lengths in LENGTHS {
            for (inputs, outputs) in WIDTHS.into_iter().zip([7, 31, 1, 13]) {
                for gelu in [false, true] {
                    check(&format!("linear {inputs} to {outputs}, gelu {gelu}"), lengths, |b| {
                        let (x, w, bias) =
                            (b.input(Rows::Tokens, inputs), b.matrix(outputs, inputs), b.vector(outputs));
                        if gelu { b.tape.linear_gelu(x, w, bias) } else { b.tape.linear(x, w, bias) }
                    });
                }
            }
        }
    }

    /// Two layers read x, so the second gradient is added to the first.
    #[test]
    fn gradient_of_a_shared_input_accumulates() {
        for lengths in LENGTHS {
            check("linear, x read twice", lengths, |b| {
                let x = b.input(Rows::Tokens, 7);
                let (k, q) = ((b.matrix(14, 7), b.vector(14)), (b.matrix(7, 7), b.vector(7)));
                let first = b.tape.first_token(x);
                let (kv, q) = (b.tape.linear(x, k.0, k.1), b.tape.linear(first, q.0, q.1));
                b.tape.attention(crate::ops::attention::Qkv::FirstToken { q, kv }, 1, None)
            });
        }
    }
}
