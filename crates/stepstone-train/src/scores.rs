//! `scores.json`: the result of a finished run.
//!
//! It lists a digest of every file that the run leaves and carries one of itself, so that its reader can tell what the
//! run wrote from what became of it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use stepstone_tasks::NamedScore;

/// Format of `scores.json`. Format 1 had no digests.
pub(crate) const SCORES_FORMAT: u32 = 2;

/// `scores.json`: the result of a finished run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of observations.csv")]
pub struct Scores {
    pub format: u32,
    pub run_id: String,
    /// blake3 of the rest of the file, as JSON without white space; empty in format 1.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    pub task: String,
    /// On the whole dev split with the best weights; the primary metric first.
    pub scores: Vec<NamedScore>,
    /// Scores of parts of the dev split, such as `matched.accuracy`.
    pub parts: Vec<NamedScore>,
    #[serde(flatten)]
    pub data: DataCounts,
    pub steps: u64,
    pub best_step: u64,
    /// Mean loss between the last two evaluations, in nats.
    pub final_train_loss: f64,
    pub n_distinct_pred: usize,
    /// blake3 of the other files of the run, by their paths in its folder; empty in format 1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// Context of the scores: how much data there was, and what the best constant answer scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of observations.csv")]
pub struct DataCounts {
    pub n_train: usize,
    pub n_dev: usize,
    pub n_classes: usize,
    pub majority_score: f64,
}

impl Scores {
    /// These scores with their digest.
    pub(crate) fn sealed(self) -> Self {
        Self { digest: self.own_digest(), ..self }
    }

    /// Compares the scores with their digest; on an error, what was found and what was expected.
    pub(crate) fn check(&self) -> Result<(), (String, String)> {
        if self.digest.is_empty() && self.format < SCORES_FORMAT {
            return Ok(());
        }
        let found = self.own_digest();
        if found == self.digest {
            return Ok(());
        }
        let (found, expected) = (short(&found), if self.digest.is_empty() { "a digest" } else { short(&self.digest) });
        Err((format!("content of digest {found}"), format!("{expected}, as it says itself")))
    }

    fn own_digest(&self) -> String {
        // Values in place of bytes: whoever prints the file anew, in another layout, does not damage it.
        let text = serde_json::to_string(&Self { digest: String::new(), ..self.clone() });
        // Numbers and texts always have a form in JSON, so the fallback, which equals no digest, is never used.
        text.map_or_else(|_| String::new(), |text| blake3::hash(text.as_bytes()).to_hex().to_string())
    }
}

/// The digits of a digest that a message shows.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores() -> Scores {
        Scores {
            format: SCORES_FORMAT,
            run_id: "r".into(),
            digest: String::new(),
            task: "rte".into(),
            scores: vec![NamedScore { name: "accuracy".into(), value: 0.1 + 0.2 }],
            parts: Vec::new(),
            data: DataCounts { n_train: 7, n_dev: 5, n_classes: 2, majority_score: 0.6 },
            steps: 3,
            best_step: 2,
            final_train_loss: 0.5,
            n_distinct_pred: 1,
            files: BTreeMap::from([("run.json".into(), "00".into())]),
        }
    }

    #[test]
    fn the_scores_of_a_run_are_one_flat_object_in_the_documented_order() {
        let sealed = scores().sealed();
        let text = serde_json::to_string(&sealed).expect("JSON");
        let rest = "\"task\":\"rte\",\"scores\":[{\"name\":\"accuracy\",\"value\":0.30000000000000004}],\"parts\":[],\
                    \"n_train\":7,\"n_dev\":5,\"n_classes\":2,\"majority_score\":0.6,\"steps\":3,\"best_step\":2,\
                    \"final_train_loss\":0.5,\"n_distinct_pred\":1,\"files\":{\"run.json\":\"00\"}}";
        let start = "{\"format\":2,\"run_id\":\"r\",";
        let digest = blake3::hash(format!("{start}{rest}").as_bytes()).to_hex();
        assert_eq!(text, format!("{start}\"digest\":\"{digest}\",{rest}"));
        assert_eq!(serde_json::from_str::<Scores>(&text).expect("reads"), sealed);
    }

    #[test]
    fn a_flipped_bit_changes_the_layout_alone_or_is_found() {
        let sealed = scores().sealed();
        let mut bytes = serde_json::to_vec_pretty(&sealed).expect("JSON");
        for bit in 0..8 * bytes.len() {
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = serde_json::from_slice::<Scores>(&bytes) {
                let text = String::from_utf8_lossy(&bytes);
                assert!(read.check().is_err() || read == sealed, "bit {bit}: {text}");
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn only_format_1_needs_no_digest() {
        let mut old = Scores { format: 1, files: BTreeMap::new(), ..scores() };
        assert_eq!(old.check(), Ok(()));
        old.format = 2;
        assert!(old.check().is_err());
        assert!(Scores { format: 1, ..scores().sealed() }.check().is_err(), "a digest is always compared");
    }
}
