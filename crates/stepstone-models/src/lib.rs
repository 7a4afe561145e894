//! Encoders and heads, written once over the tape; Hugging Face folders.
