//! The BERT and RoBERTa encoders: their tensors, and their forward pass recorded on the tape.
//!
//! Source: `BertModel` and `RobertaModel` of transformers 5.23. They differ in position indices, segments and the
//! layer-norm epsilon; all three are values of the config here.

use crate::config::{EncoderConfig, Rates};
use stepstone_engine::ops::Qkv;
use stepstone_engine::{DropoutSite, Layout, Param, Site, Tape, Value};

/// The kinds of dropout in an encoder. [`Site::new`] combines a kind with the layer number into the key of the dropout
/// mask, so changing a number changes every score. The head uses kinds 4 and 5 of layer 0.
mod kind {
    pub(super) const EMBEDDING: u32 = 0;
    pub(super) const ATTENTION_PROBABILITIES: u32 = 1;
    pub(super) const ATTENTION_OUTPUT: u32 = 2;
    pub(super) const FEED_FORWARD_OUTPUT: u32 = 3;
}

/// A weight `[outputs, inputs]` and its bias `[outputs]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear {
    weight: Param,
    bias: Param,
}

/// Gain and bias of a layer norm, `[hidden]` each.
type Norm = (Param, Param);

/// The tensors of an encoder in a parameter arena, and the settings of its forward pass.
#[derive(Debug, Clone)]
pub struct Encoder {
    word: Param,
    position: Param,
    token_type: Param,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    padding_index: u32,
    heads: usize,
    hidden: usize,
    epsilon: f64,
    dropout: Rates,
}

#[derive(Debug, Clone)]
struct Layer {
    qkv: Linear,
    attention_output: Linear,
    attention_norm: Norm,
    intermediate: Linear,
    output: Linear,
    output_norm: Norm,
}

impl Encoder {
    /// Declares the encoder's tensors under their checkpoint names, without the family prefix.
    pub fn declare(config: &EncoderConfig, layout: &mut Layout) -> Self {
        let hidden = config.hidden_size;
        let mut table =
            |name: &str, rows| layout.matrix(&[format!("embeddings.{name}_embeddings.weight")], rows, hidden);
        Self {
            word: table("word", config.embeddings.vocab_size),
            position: table("position", config.embeddings.max_position_embeddings),
            token_type: table("token_type", config.embeddings.type_vocab_size),
            embedding_norm: norm(layout, "embeddings.LayerNorm", hidden),
            layers: (0..config.num_hidden_layers).map(|i| Layer::declare(config, layout, i)).collect(),
            padding_index: config.pad_token_id,
            heads: config.num_attention_heads,
            hidden,
            epsilon: config.layer_norm_eps,
            dropout: config.dropout,
        }
    }

    /// Records the forward pass up to the last layer's output for every token, `[tokens, hidden]`.
    pub fn all_tokens(&self, tape: &mut Tape) -> Value {
        let embedded = self.embed(tape);
        self.layers.iter().enumerate().fold(embedded, |h, (i, layer)| self.layer(tape, layer, i, h))
    }

    /// Records the forward pass up to the last layer's output for the first token of each sequence,
    /// `[sequences, hidden]`. The last layer computes only these rows, which is exact: nothing reads the others.
    pub fn first_token(&self, tape: &mut Tape) -> Value {
        let embedded = self.embed(tape);
        let Some((last, body)) = self.layers.split_last() else { return tape.first_token(embedded) };
        let h = body.iter().enumerate().fold(embedded, |h, (i, layer)| self.layer(tape, layer, i, h));
        self.first_token_layer(tape, last, body.len(), h)
    }

    fn embed(&self, tape: &mut Tape) -> Value {
        let sum = tape.embedding(self.word, self.position, self.token_type, Some(self.padding_index));
        let normed = tape.layer_norm(sum, None, None, self.embedding_norm, self.epsilon);
        tape.dropout(normed, site(self.dropout.hidden, 0, kind::EMBEDDING))
    }

    fn layer(&self, tape: &mut Tape, layer: &Layer, number: usize, h: Value) -> Value {
        let qkv = tape.linear(h, layer.qkv.weight, layer.qkv.bias);
        self.after_projection(tape, layer, number, h, Qkv::All(qkv))
    }

    fn first_token_layer(&self, tape: &mut Tape, layer: &Layer, number: usize, h: Value) -> Value {
        // `qkv` holds the rows of query, key and value in this order. Keys and values are needed for every token, the
        // query only for the first.
        let Linear { weight, bias } = layer.qkv;
        let kv = tape.linear(h, weight.slice(self.hidden, 2 * self.hidden), bias.slice(self.hidden, 2 * self.hidden));
        let first = tape.first_token(h);
        let q = tape.linear(first, weight.slice(0, self.hidden), bias.slice(0, self.hidden));
        self.after_projection(tape, layer, number, first, Qkv::FirstToken { q, kv })
    }

    /// Records attention with its output layer, then the feed-forward block; each ends in dropout, residual sum and
    /// layer norm.
    fn after_projection(&self, tape: &mut Tape, layer: &Layer, number: usize, h: Value, qkv: Qkv) -> Value {
        let probabilities = site(self.dropout.attention, number, kind::ATTENTION_PROBABILITIES);
        let context = tape.attention(qkv, self.heads, Some(probabilities));
        let attended = tape.linear(context, layer.attention_output.weight, layer.attention_output.bias);
        let drop = site(self.dropout.hidden, number, kind::ATTENTION_OUTPUT);
        let h = tape.layer_norm(attended, Some(h), Some(drop), layer.attention_norm, self.epsilon);
        let inner = tape.linear_gelu(h, layer.intermediate.weight, layer.intermediate.bias);
        let outer = tape.linear(inner, layer.output.weight, layer.output.bias);
        let drop = site(self.dropout.hidden, number, kind::FEED_FORWARD_OUTPUT);
        tape.layer_norm(outer, Some(h), Some(drop), layer.output_norm, self.epsilon)
    }
}

impl Layer {
    fn declare(config: &EncoderConfig, layout: &mut Layout, number: usize) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let name = |rest: &str| format!("encoder.layer.{number}.{rest}");
        let part = |kind: &str| ["query", "key", "value"].map(|p| name(&format!("attention.self.{p}.{kind}")));
        Self {
            // One matrix for query, key and value, so that one product computes all three.
            qkv: Linear {
                weight: layout.matrix(&part("weight"), hidden, hidden),
                bias: layout.vector(&part("bias"), hidden),
            },
            attention_output: Linear::declare(layout, &name("attention.output.dense"), hidden, hidden),
            attention_norm: norm(layout, &name("attention.output.LayerNorm"), hidden),
            intermediate: Linear::declare(layout, &name("intermediate.dense"), inner, hidden),
            output: Linear::declare(layout, &name("output.dense"), hidden, inner),
            output_norm: norm(layout, &name("output.LayerNorm"), hidden),
        }
    }
}

impl Linear {
    /// Declares `NAME.weight` `[outputs, inputs]` and `NAME.bias` `[outputs]`.
    pub(crate) fn declare(layout: &mut Layout, name: &str, outputs: usize, inputs: usize) -> Self {
        Self {
            weight: layout.matrix(&[format!("{name}.weight")], outputs, inputs),
            bias: layout.vector(&[format!("{name}.bias")], outputs),
        }
    }

    /// Records `x weight^T + bias`.
    pub(crate) fn forward(self, tape: &mut Tape, x: Value) -> Value {
        tape.linear(x, self.weight, self.bias)
    }
}

fn site(probability: f32, layer: usize, kind: u32) -> DropoutSite {
    DropoutSite { probability, site: Site::new(layer, kind) }
}

fn norm(layout: &mut Layout, name: &str, hidden: usize) -> Norm {
    let gain = layout.vector(&[format!("{name}.weight")], hidden);
    (gain, layout.vector(&[format!("{name}.bias")], hidden))
}
