//! One run of a program in f64, as the definitions of the ops see it.

use crate::batch::Batch;
use crate::layout::Param;
use crate::scalars::Scalars;
use crate::site::DropoutSite;
use crate::value::{Value, ValueInfo};
use stepstone_kernels::Write;

/// Parameters, values and batch of one run.
pub(crate) struct Run<'a> {
    pub(crate) parameters: &'a [f64],
    pub(crate) gradients: &'a mut [f64],
    pub(crate) values: &'a mut [Vec<f64>],
    /// Shape of each value.
    pub(crate) shapes: &'a [ValueInfo],
    pub(crate) batch: &'a Batch,
    pub(crate) scalars: Scalars,
}

impl Run<'_> {
    pub(crate) fn get(&self, value: Value) -> &[f64] {
        &self.values[value.index()]
    }

    pub(crate) fn set(&mut self, value: Value, data: Vec<f64>) {
        debug_assert_eq!(data.len(), self.rows(value) * self.columns(value), "{value:?}");
        self.values[value.index()] = data;
    }

    /// Overwrites a gradient or adds to it, as `write` says.
    pub(crate) fn write(&mut self, value: Value, write: Write, mut data: Vec<f64>) {
        if write == Write::Accumulate {
            data.iter_mut().zip(self.get(value)).for_each(|(d, old)| *d += old);
        }
        self.set(value, data);
    }

    pub(crate) fn rows(&self, value: Value) -> usize {
        self.batch.shape().rows(self.shapes[value.index()].rows)
    }

    pub(crate) fn columns(&self, value: Value) -> usize {
        self.shapes[value.index()].columns
    }

    pub(crate) fn parameter(&self, param: Param) -> &[f64] {
        &self.parameters[param.range()]
    }

    pub(crate) fn add_gradient(&mut self, param: Param, data: &[f64]) {
        self.gradients[param.range()].iter_mut().zip(data).for_each(|(g, d)| *g += d);
    }

    /// Dropout multipliers of one row; all are 1 without dropout.
    pub(crate) fn multipliers(&self, dropout: Option<DropoutSite>, row_key: u32, columns: usize) -> Vec<f64> {
        // The same generator as on the CPU: results can be compared only if both devices drop the same elements.
        let mut multipliers = vec![1.0f32; columns];
        if let Some(dropout) = dropout.and_then(|d| self.scalars.dropout(d)) {
            dropout.multipliers(row_key, &mut multipliers);
        }
        multipliers.into_iter().map(f64::from).collect()
    }

    /// `value` times its dropout multipliers.
    pub(crate) fn masked(&self, value: Value, dropout: Option<DropoutSite>) -> Vec<f64> {
        let mut data = self.get(value).to_vec();
        let keys = self.batch.keys(self.shapes[value.index()].rows);
        for (row, key) in data.chunks_exact_mut(self.columns(value)).zip(keys) {
            let multipliers = self.multipliers(dropout, *key, row.len());
            row.iter_mut().zip(multipliers).for_each(|(v, m)| *v *= m);
        }
        data
    }
}
