//! A program: the forward and backward lists of op records, and the values they name.

use crate::ops::Op;
use crate::value::{Value, ValueInfo};

/// Lists of ops that a device runs in order, and the shapes of their values.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The forward list, then the backward list (empty in inference).
    pub ops: Vec<Op>,
    /// Shape of each value; the index is the value's number.
    pub values: Vec<ValueInfo>,
    /// Values that the host reads after a run; they keep their memory to the end.
    pub outputs: Vec<Value>,
}

impl Program {
    /// Shape of `value`.
    pub fn info(&self, value: Value) -> ValueInfo {
        self.values[value.index()]
    }
}

/// One op per line, with its number.
impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, op) in self.ops.iter().enumerate() {
            writeln!(f, "{number:4} {op:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::Op;
    use crate::testing::{Sketch, tape_with_input};

    #[test]
    fn a_program_prints_one_numbered_op_per_line() {
        let (mut tape, x) = tape_with_input(3);
        let first = tape.first_token(x);
        let out = tape.tanh(first);
        let want = "   0 FirstToken(FirstToken { x: Value(0), out: Value(1) })\n   1 Tanh(Tanh { x: Value(1), out: Value(2) })\n";
        assert_eq!(tape.finish(&[out]).to_string(), want);
    }

    #[test]
    fn the_backward_list_follows_the_forward_list_in_reverse() {
        let model = Sketch::chain(2).training(0.0);
        let (_, backward) = model.lists();
        let name = |op: &Op| format!("{op:?}").split('(').next().unwrap_or_default().to_owned();
        let names: Vec<String> = backward.iter().map(name).collect();
        let layer = "LinearBackward";
        assert_eq!(names, ["CrossEntropyBackward", layer, "FirstTokenBackward", layer, layer, "EmbeddingBackward"]);
    }
}
