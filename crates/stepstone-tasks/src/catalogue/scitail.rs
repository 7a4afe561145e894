//! SciTail: entailment between science questions and web sentences.

use crate::metric::Metric;
use crate::task::{Columns, Fields, Hub, Layout, Task, TaskFiles, TaskHead};

/// One row.
pub(super) const TASKS: &[Task] = &[Task {
    name: "scitail",
    citation: "Khot, Sabharwal and Clark 2018, SciTail: A Textual Entailment Dataset from Science Question Answering",
    licence: "Apache-2.0",
    hub: Some(Hub { dataset: "allenai/scitail", config: "tsv_format" }),
    files: TaskFiles {
        // The last name is the path inside the official archive.
        folders: &["scitail", "SciTail", "SciTailV1.1/tsv_format"],
        train: &["scitail_1.0_train.tsv"],
        dev: &[("", &["scitail_1.0_dev.tsv"])],
        layouts: &[Layout {
            extension: "tsv",
            columns: Columns::Numbered { width: 3, fields: Fields { id: None, text: 0, pair: Some(1), label: 2 } },
        }],
        companion: None,
        known_bad: None,
    },
    head: TaskHead::Classification,
    labels: &["neutral", "entails"],
    metric: Metric::Accuracy,
}];
