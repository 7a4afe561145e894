//! Heads on the first token, for classification and multiple choice, and the matching `transformers` classes.

use crate::config::{EncoderConfig, Family};
use crate::encoder::Linear;
use serde::{Deserialize, Serialize};
use stepstone_engine::{DropoutSite, Layout, Site, Tape, Value};

/// The kinds of dropout in a head, at layer 0, where the encoder uses kinds 0 to 3. They are part of the key of the
/// dropout mask, so changing a number changes every score.
const HEAD_INPUT: u32 = 4;
const HEAD_HIDDEN: u32 = 5;

/// Which head a model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// The head of the family's `transformers` classes for sequence classification and multiple choice, so that exports
    /// load there.
    Hf,
    /// The head of the paper: dropout and one linear layer on the first token's state (section 3.1; `log_reg` in its
    /// code).
    Linear,
}

/// The kind of decision about one example, and the number of classes or choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Classes, from one sequence.
    Classes(usize),
    /// Choices; each choice is a sequence and gets one score.
    Choices(usize),
}

impl Answers {
    /// Number of classes or choices, which is the width of the logits.
    pub fn count(self) -> usize {
        match self {
            Self::Classes(count) | Self::Choices(count) => count,
        }
    }
}

/// The tensors of a head in a parameter arena.
#[derive(Debug, Clone)]
pub struct Head {
    /// None if the classifier reads the encoder's output directly.
    hidden: Option<Hidden>,
    classifier: Linear,
    dropout: f32,
    answers: Answers,
}

/// The tanh layer before the classifier.
#[derive(Debug, Clone)]
struct Hidden {
    dense: Linear,
    /// Whether dropout also acts on the layer's input, as in RoBERTa.
    input_dropout: bool,
}

impl Head {
    /// Declares the head's tensors. `pooler.dense` counts as part of the encoder and is carried to the next stage.
    pub fn declare(kind: HeadKind, config: &EncoderConfig, answers: Answers, layout: &mut Layout) -> Self {
        let hidden_size = config.hidden_size;
        let hidden = hidden_layer(kind, config.family, answers).map(|(name, input_dropout)| Hidden {
            dense: Linear::declare(layout, name, hidden_size, hidden_size),
            input_dropout,
        });
        let outputs = match answers {
            Answers::Classes(classes) => classes,
            // Every choice is scored by the same weights; the scores of a question are then compared.
            Answers::Choices(_) => 1,
        };
        let classifier = Linear::declare(layout, classifier_name(kind, config.family, answers), outputs, hidden_size);
        // transformers also falls back to the encoder's dropout.
        let dropout = config.classifier_dropout.unwrap_or(config.dropout.hidden);
        Self { hidden, classifier, dropout, answers }
    }

    /// Records logits `[examples, answers]` from first-token states `[sequences, hidden]`.
    pub fn forward(&self, tape: &mut Tape, first: Value) -> Value {
        let site = |kind| DropoutSite { probability: self.dropout, site: Site::new(0, kind) };
        let pooled = match &self.hidden {
            // Without a tanh layer, dropout acts once, on the state that the classifier reads.
            None => tape.dropout(first, site(HEAD_INPUT)),
            Some(hidden) => {
                let first = if hidden.input_dropout { tape.dropout(first, site(HEAD_INPUT)) } else { first };
                let dense = hidden.dense.forward(tape, first);
                let pooled = tape.tanh(dense);
                tape.dropout(pooled, site(HEAD_HIDDEN))
            }
        };
        let scores = self.classifier.forward(tape, pooled);
        match self.answers {
            Answers::Classes(_) => scores,
            Answers::Choices(choices) => tape.choices(scores, choices),
        }
    }
}

/// The `transformers` class of this family with this head. For a `linear` head it is the class of the encoder alone,
/// because no class has that head.
pub(crate) fn architecture(kind: HeadKind, family: Family, answers: Answers) -> &'static str {
    match (kind, family, answers) {
        (HeadKind::Linear, _, _) => family.encoder_architecture(),
        (HeadKind::Hf, Family::Bert, Answers::Classes(_)) => "BertForSequenceClassification",
        (HeadKind::Hf, Family::Bert, Answers::Choices(_)) => "BertForMultipleChoice",
        (HeadKind::Hf, Family::Roberta, Answers::Classes(_)) => "RobertaForSequenceClassification",
        (HeadKind::Hf, Family::Roberta, Answers::Choices(_)) => "RobertaForMultipleChoice",
    }
}

/// Name of the tanh layer, and whether dropout acts on its input. None if the head has no such layer.
fn hidden_layer(kind: HeadKind, family: Family, answers: Answers) -> Option<(&'static str, bool)> {
    match (kind, family, answers) {
        (HeadKind::Linear, _, _) => None,
        // RoBERTa's sequence classifier has its own tanh layer; its multiple-choice class uses the pooler, as BERT
        // does.
        (HeadKind::Hf, Family::Roberta, Answers::Classes(_)) => Some(("classifier.dense", true)),
        (HeadKind::Hf, Family::Bert, _) | (HeadKind::Hf, Family::Roberta, Answers::Choices(_)) => {
            Some(("pooler.dense", false))
        }
    }
}

fn classifier_name(kind: HeadKind, family: Family, answers: Answers) -> &'static str {
    match (kind, family, answers) {
        (HeadKind::Hf, Family::Roberta, Answers::Classes(_)) => "classifier.out_proj",
        (HeadKind::Hf, Family::Bert, _)
        | (HeadKind::Hf, Family::Roberta, Answers::Choices(_))
        | (HeadKind::Linear, _, _) => "classifier",
    }
}

/// Whether a tensor belongs to the head. Heads are initialized anew at every stage.
pub fn is_head_tensor(name: &str) -> bool {
    name.starts_with("classifier.")
}
