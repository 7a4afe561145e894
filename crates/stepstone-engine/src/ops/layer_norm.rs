//! Layer norm, with the residual sum and the dropout before it in one op.

use crate::cpu_run::{Run as CpuRun, disjoint};
use crate::gradients::Gradients;
use crate::layout::Param;
use crate::phases::Phase;
use crate::reference_run::Run;
use crate::site::DropoutSite;
use crate::value::Value;
use stepstone_kernels::{Write, layer_norm};

/// s = residual + dropout(x); out = gain * (s - mean(s)) * rstd + bias, rstd = 1 / sqrt(var(s) + epsilon) with the
/// biased variance of the row. Values `[R, h]`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct LayerNorm {
    pub x: Value,
    pub residual: Option<Value>,
    pub dropout: Option<DropoutSite>,
    pub gain: Param,
    pub bias: Param,
    pub epsilon: f64,
    pub out: Value,
    /// Saved for the backward pass; None in inference.
    pub saved: Option<NormSaved>,
}

/// normalized = (s - mean) * rstd `[R, h]`, and rstd `[R, 1]`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the line above says it")]
pub struct NormSaved {
    pub normalized: Value,
    pub rstd: Value,
}

/// With u = d_out * gain: d_s = rstd * (u - mean(u) - normalized * mean(u * normalized)); d_residual = d_s,
/// d_x = dropout mask of d_s (overwritten), d_gain += sum d_out * normalized, d_bias += sum d_out.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct LayerNormBackward {
    pub dropout: Option<DropoutSite>,
    pub gain: Param,
    pub bias: Param,
    pub saved: NormSaved,
    pub d_out: Value,
    pub d_residual: Option<(Value, Write)>,
    pub d_x: Value,
}

impl LayerNorm {
    pub(crate) const PHASE: Phase = Phase::Norms;

    pub(crate) fn reads(&self) -> Vec<Value> {
        [self.x].into_iter().chain(self.residual).collect()
    }

    pub(crate) fn writes(&self) -> Vec<Value> {
        let saved = self.saved.iter().flat_map(|s| [s.normalized, s.rstd]);
        [self.out].into_iter().chain(saved).collect()
    }

    pub(crate) fn backward(&self, gradients: &mut Gradients) -> Option<LayerNormBackward> {
        let d_out = gradients.gradient(self.out)?;
        Some(LayerNormBackward {
            dropout: self.dropout,
            gain: self.gain,
            bias: self.bias,
            saved: self.saved?,
            d_out,
            // Another layer reads the residual too, so it may already have a gradient.
            d_residual: self.residual.map(|r| gradients.target(r)),
            // The kernel overwrites d_x, so no other op may read x.
            d_x: gradients.sole_target(self.x),
        })
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let h = self.gain.len();
        let mut s = run.masked(self.x, self.dropout);
        if let Some(residual) = self.residual {
            s.iter_mut().zip(run.get(residual)).for_each(|(s, r)| *s += r);
        }
        let (mut normalized, mut rstds) = (Vec::new(), Vec::new());
        for row in s.chunks_exact(h) {
            let mean = row.iter().sum::<f64>() / h as f64;
            // Two passes, because the mean of squares minus the squared mean cancels where rows lie far from 0.
            let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / h as f64;
            let rstd = 1.0 / (variance + self.epsilon).sqrt();
            normalized.extend(row.iter().map(|v| (v - mean) * rstd));
            rstds.push(rstd);
        }
        let (gain, bias) = (run.parameter(self.gain), run.parameter(self.bias));
        let out = normalized.iter().enumerate().map(|(i, n)| n * gain[i % h] + bias[i % h]).collect();
        run.set(self.out, out);
        if let Some(saved) = self.saved {
            run.set(saved.normalized, normalized);
            run.set(saved.rstd, rstds);
        }
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        let (threads, dropout) = (run.threads, run.mask(self.dropout, self.x));
        let (gain, bias) = (run.parameter(self.gain), run.parameter(self.bias));
        let saved = [self.saved.map(|s| s.normalized), self.saved.map(|s| s.rstd)];
        let spans = [Some(self.x), self.residual, Some(self.out), saved[0], saved[1]].map(|v| run.optional_span(v));
        let [x, residual, out, normalized, rstd] = disjoint(run.activations, spans);
        let sum = layer_norm::Sum { x, residual: self.residual.map(|_| &*residual), dropout };
        let norm = layer_norm::Norm { gain, bias, epsilon: self.epsilon as f32 };
        layer_norm::forward(threads, sum, norm, out, self.saved.map(|_| layer_norm::Saved { normalized, rstd }));
    }
}

impl LayerNormBackward {
    pub(crate) const PHASE: Phase = Phase::Norms;

    pub(crate) fn reads(&self) -> Vec<Value> {
        let residual = self.d_residual.filter(|(_, write)| *write == Write::Accumulate).map(|(value, _)| value);
        [self.saved.normalized, self.saved.rstd, self.d_out].into_iter().chain(residual).collect()
    }

    pub(crate) fn writes(&self) -> Vec<Value> {
        [self.d_x].into_iter().chain(self.d_residual.map(|(value, _)| value)).collect()
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let h = self.gain.len();
        let gain = run.parameter(self.gain).to_vec();
        let (normalized, rstds) = (run.get(self.saved.normalized).to_vec(), run.get(self.saved.rstd).to_vec());
        let d_out = run.get(self.d_out).to_vec();
        let (mut d_gain, mut d_bias, mut d_s) = (vec![0.0; h], vec![0.0; h], Vec::with_capacity(d_out.len()));
        for ((d, n), rstd) in d_out.chunks_exact(h).zip(normalized.chunks_exact(h)).zip(&rstds) {
            let u: Vec<f64> = d.iter().zip(&gain).map(|(d, g)| d * g).collect();
            let mean_u = u.iter().sum::<f64>() / h as f64;
            let mean_un = u.iter().zip(n).map(|(u, n)| u * n).sum::<f64>() / h as f64;
            for c in 0..h {
                d_gain[c] += d[c] * n[c];
                d_bias[c] += d[c];
                d_s.push(rstd * (u[c] - mean_u - n[c] * mean_un));
            }
        }
        run.add_gradient(self.gain, &d_gain);
        run.add_gradient(self.bias, &d_bias);
        if let Some((d_residual, write)) = self.d_residual {
            run.write(d_residual, write, d_s.clone());
        }
        // Dropout acted on x alone, so the residual's gradient above has no mask. `masked` reads a value, so d_s is
        // stored first.
        run.set(self.d_x, d_s);
        let masked = run.masked(self.d_x, self.dropout);
        run.set(self.d_x, masked);
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        let (threads, dropout) = (run.threads, run.mask(self.dropout, self.d_x));
        let parameter = run.parameter(self.gain);
        let residual = self.d_residual.map(|(value, _)| value);
        let spans = [Some(self.d_out), Some(self.saved.normalized), Some(self.saved.rstd), residual, Some(self.d_x)]
            .map(|v| run.optional_span(v));
        let [d_out, normalized, rstd, d_residual, x] = disjoint(run.activations, spans);
        let [gain, bias] = disjoint(run.gradients, [self.gain.range(), self.bias.range()]);
        let residual = self.d_residual.map(|(_, write)| (d_residual, write));
        let gradients = layer_norm::Gradients { residual, x, gain, bias };
        layer_norm::backward(threads, parameter, normalized, rstd, d_out, dropout, gradients);
    }
}

#[cfg(test)]
mod tests {
    use crate::gradient_check::{LENGTHS, WIDTHS, check};
    use crate::site::{DropoutSite, Site};
    use crate::value::Rows;

    const EPSILON: f64 = 1e-5;

    #[test]
    fn gradients_are_slopes_and_kernels_follow() {
        for lengths in LENGTHS {
            for columns in WIDTHS {
                for (residual, probability) in [(false, 0.0), (true, 0.0), (true, 0.3)] {
                    let what = format!("layer norm of {columns}, residual {residual}, dropout {probability}");
                    check(&what, lengths, |b| {
                        let x = b.input(Rows::Tokens, columns);
                        let residual = residual.then(|| b.input(Rows::Tokens, columns));
                        let dropout = Some(DropoutSite { probability, site: Site(64) });
                        let parameters = (b.vector(columns), b.vector(columns));
                        b.tape.layer_norm(x, residual, dropout, parameters, EPSILON)
                    });
                }
            }
        }
    }

    /// Both norms add the same residual, so its second gradient is added to the first.
    #[test]
    fn gradient_of_a_shared_residual_accumulates() {
        for lengths in LENGTHS {
            check("layer norm, residual read twice", lengths, |b| {
                let (x, residual) = (b.input(Rows::Tokens, 7), b.input(Rows::Tokens, 7));
                let parameters = [0; 2].map(|_| (b.vector(7), b.vector(7)));
                let first = b.tape.layer_norm(x, Some(residual), None, parameters[0], EPSILON);
                b.tape.layer_norm(first, Some(residual), None, parameters[1], EPSILON)
            });
        }
    }
}
