//! The gradient of each value while the backward list is derived.

use crate::value::{Value, ValueInfo};
use stepstone_kernels::Write;

/// The gradients known so far, and all values of the program; each new gradient is one more value.
#[derive(Debug)]
pub(crate) struct Gradients {
    /// One entry per value of the forward list.
    of: Vec<Option<Value>>,
    values: Vec<ValueInfo>,
    losses: Value,
}

impl Gradients {
    /// Starts without gradients; `values` are those of a forward list that ends in `losses`.
    pub(crate) fn new(values: Vec<ValueInfo>, losses: Value) -> Self {
        Self { of: vec![None; values.len()], values, losses }
    }

    /// Whether the loss is `losses` itself.
    pub(crate) fn is_loss(&self, losses: Value) -> bool {
        self.losses == losses
    }

    /// The gradient of `value`; None if the loss does not depend on it.
    // The list is derived from the last op to the first, so every reader of `value` has added its share by now.
    pub(crate) fn gradient(&self, value: Value) -> Option<Value> {
        self.of[value.index()]
    }

    /// The gradient of `value` as an output of a backward op.
    pub(crate) fn target(&mut self, value: Value) -> (Value, Write) {
        if let Some(gradient) = self.gradient(value) {
            // Another reader of `value` has written its share, and the gradient is the sum over all readers.
            return (gradient, Write::Accumulate);
        }
        let info = self.values[value.index()];
        let gradient = push_value(&mut self.values, info);
        self.of[value.index()] = Some(gradient);
        (gradient, Write::Overwrite)
    }

    /// Like [`Gradients::target`], for ops that can only overwrite.
    ///
    /// # Panics
    /// If another op has written the gradient before.
    pub(crate) fn sole_target(&mut self, value: Value) -> Value {
        let (gradient, write) = self.target(value);
        assert_eq!(write, Write::Overwrite, "this op must be the only reader of its input");
        gradient
    }

    /// The gradient of each value of the forward list, and the shapes of all values.
    pub(crate) fn into_parts(self) -> (Vec<Option<Value>>, Vec<ValueInfo>) {
        (self.of, self.values)
    }
}

/// Appends a value and returns its number.
pub(crate) fn push_value(values: &mut Vec<ValueInfo>, info: ValueInfo) -> Value {
    values.push(info);
    Value(values.len() as u32 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Rows;

    fn two_values() -> Gradients {
        let info = |columns| ValueInfo { rows: Rows::Tokens, columns };
        Gradients::new(vec![info(3), info(1)], Value(1))
    }

    #[test]
    fn the_first_gradient_of_a_value_overwrites_and_later_ones_accumulate() {
        let mut gradients = two_values();
        assert_eq!(gradients.gradient(Value(0)), None, "no op has written it");
        assert_eq!(gradients.target(Value(0)), (Value(2), Write::Overwrite));
        assert_eq!(gradients.target(Value(0)), (Value(2), Write::Accumulate));
        assert_eq!(gradients.gradient(Value(0)), Some(Value(2)));
    }

    #[test]
    fn a_gradient_has_the_shape_of_its_value() {
        let mut gradients = two_values();
        let gradient = gradients.sole_target(Value(0));
        let (_, values) = gradients.into_parts();
        assert_eq!(values[gradient.index()], values[0]);
    }

    #[test]
    #[should_panic(expected = "only reader")]
    fn an_op_that_can_only_overwrite_refuses_a_gradient_that_is_there() {
        let mut gradients = two_values();
        gradients.target(Value(0));
        gradients.sole_target(Value(0));
    }

    #[test]
    fn only_the_chosen_losses_are_the_loss() {
        assert!(two_values().is_loss(Value(1)) && !two_values().is_loss(Value(0)));
    }
}
