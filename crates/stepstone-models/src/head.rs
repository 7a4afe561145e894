//! Classification heads on the first token.

use crate::config::{EncoderConfig, Family};
use crate::encoder::Linear;
use serde::{Deserialize, Serialize};
use stepstone_engine::{DropoutSite, Layout, Site, SiteKind, Tape, Value};

/// Which head a model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// What `BertForSequenceClassification` / `RobertaForSequenceClassification` have, so that exports load.
    Hf,
    /// The paper's: dropout and one linear layer on the first token's state (its section 3.1 in code: `log_reg`).
    Linear,
}

/// The tensors of a head in a parameter arena.
#[derive(Debug, Clone)]
pub struct Head {
    /// None: the classifier stands directly on the encoder.
    hidden: Option<Hidden>,
    classifier: Linear,
    dropout: f32,
}

/// The tanh layer before the classifier.
#[derive(Debug, Clone)]
struct Hidden {
    dense: Linear,
    /// RoBERTa drops the layer's input too.
    input_dropout: bool,
}

impl Head {
    /// Declares the head's tensors. BERT's `pooler.dense` belongs to the encoder's names and travels with it.
    pub fn declare(kind: HeadKind, config: &EncoderConfig, labels: usize, layout: &mut Layout) -> Head {
        let hidden_size = config.hidden_size;
        let hidden = hidden_layer(kind, config.family).map(|(name, input_dropout)| Hidden {
            dense: Linear::declare(layout, name, hidden_size, hidden_size),
            input_dropout,
        });
        let classifier = Linear::declare(layout, classifier_name(kind, config.family), labels, hidden_size);
        Head { hidden, classifier, dropout: config.classifier_dropout.unwrap_or(config.hidden_dropout_prob) }
    }

    /// Records logits `[sequences, labels]` from first-token states `[sequences, hidden]`.
    pub fn forward(&self, tape: &mut Tape, first: Value) -> Value {
        let site = |kind| DropoutSite { probability: self.dropout, site: Site::new(0, kind) };
        let pooled = match &self.hidden {
            None => tape.dropout(first, site(SiteKind::HeadInput)),
            Some(hidden) => {
                let first = if hidden.input_dropout { tape.dropout(first, site(SiteKind::HeadInput)) } else { first };
                let dense = hidden.dense.forward(tape, first);
                let pooled = tape.tanh(dense);
                tape.dropout(pooled, site(SiteKind::HeadHidden))
            }
        };
        self.classifier.forward(tape, pooled)
    }
}

/// Name of the tanh layer, and whether dropout acts on its input.
fn hidden_layer(kind: HeadKind, family: Family) -> Option<(&'static str, bool)> {
    match (kind, family) {
        (HeadKind::Linear, _) => None,
        (HeadKind::Hf, Family::Bert) => Some(("pooler.dense", false)),
        (HeadKind::Hf, Family::Roberta) => Some(("classifier.dense", true)),
    }
}

fn classifier_name(kind: HeadKind, family: Family) -> &'static str {
    match (kind, family) {
        (HeadKind::Hf, Family::Roberta) => "classifier.out_proj",
        (HeadKind::Hf, Family::Bert) | (HeadKind::Linear, _) => "classifier",
    }
}

/// Whether a tensor of the layout belongs to the head, hence starts anew at every stage.
pub fn is_head_tensor(name: &str) -> bool {
    name.starts_with("classifier.")
}
