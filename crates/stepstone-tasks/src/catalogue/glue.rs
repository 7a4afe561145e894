//! GLUE (Wang et al. 2019): CoLA, MNLI, QQP, RTE, SST-2.

use crate::metric::Metric;
use crate::task::{BadKind, Columns, Fields, Hub, KnownBad, Layout, Task, TaskFiles, TaskHead};

const PREMISE_HYPOTHESIS: Columns =
    Columns::Json(Fields { id: Some("idx"), text: "premise", pair: Some("hypothesis"), label: "label" });

/// One row per task.
pub(super) const TASKS: &[Task] = &[
    Task {
        name: "cola",
        citation: "Warstadt, Singh and Bowman 2019, Neural Network Acceptability Judgments",
        licence: "research use; sentences quoted from published works",
        hub: Some(Hub { dataset: "nyu-mll/glue", config: "cola" }),
        files: TaskFiles {
            folders: &["cola", "CoLA"],
            train: &["train.tsv"],
            dev: &[("", &["dev.tsv"])],
            layouts: &[
                // Only the published test file has a header.
                Layout {
                    extension: "tsv",
                    columns: Columns::Header(Fields {
                        id: Some("index"),
                        text: "sentence",
                        pair: None,
                        label: "label",
                    }),
                },
                Layout {
                    extension: "tsv",
                    // The columns are source, label, the author's own mark, and sentence.
                    columns: Columns::Numbered { width: 4, fields: Fields { id: None, text: 3, pair: None, label: 1 } },
                },
            ],
            companion: None,
            known_bad: None,
        },
        head: TaskHead::Classification,
        labels: &["0", "1"],
        metric: Metric::MatthewsCorrelation,
    },
    Task {
        name: "mnli",
        citation: "Williams, Nangia and Bowman 2018, MultiNLI",
        licence: "OANC, CC BY-SA 3.0, CC BY 3.0 by part",
        hub: Some(Hub { dataset: "nyu-mll/glue", config: "mnli" }),
        files: TaskFiles {
            folders: &["mnli", "MNLI"],
            train: &["train.tsv"],
            dev: &[("matched", &["dev_matched.tsv"]), ("mismatched", &["dev_mismatched.tsv"])],
            layouts: &[Layout {
                extension: "tsv",
                columns: Columns::Header(Fields {
                    id: Some("index"),
                    text: "sentence1",
                    pair: Some("sentence2"),
                    // The columns `label1` to `label5` hold single annotators' answers; this one holds their majority.
                    label: "gold_label",
                }),
            }],
            companion: None,
            known_bad: None,
        },
        head: TaskHead::Classification,
        labels: &["entailment", "neutral", "contradiction"],
        metric: Metric::Accuracy,
    },
    Task {
        name: "qqp",
        citation: "Iyer, Dandekar and Csernai 2017, First Quora Dataset Release: Question Pairs",
        licence: "Quora's terms of service; non-commercial research",
        hub: Some(Hub { dataset: "nyu-mll/glue", config: "qqp" }),
        files: TaskFiles {
            folders: &["qqp", "QQP"],
            train: &["train.tsv"],
            dev: &[("", &["dev.tsv"])],
            layouts: &[Layout {
                extension: "tsv",
                columns: Columns::Header(Fields {
                    id: Some("id"),
                    text: "question1",
                    pair: Some("question2"),
                    label: "is_duplicate",
                }),
            }],
            companion: None,
            // The official file has 363,849 rows, the hub's copy 363,846.
            known_bad: Some(KnownBad { split: "train", kind: BadKind::ShortRow, count: 3 }),
        },
        head: TaskHead::Classification,
        labels: &["0", "1"],
        metric: Metric::AccuracyF1,
    },
    Task {
        name: "rte",
        citation: "Dagan et al. 2006; Bar Haim et al. 2006; Giampiccolo et al. 2007; Bentivogli et al. 2009",
        licence: "research use (GLUE and SuperGLUE redistribution)",
        hub: Some(Hub { dataset: "nyu-mll/glue", config: "rte" }),
        files: TaskFiles {
            folders: &["rte", "RTE", "superglue_rte"],
            train: &["train.jsonl", "train.tsv"],
            dev: &[("", &["val.jsonl", "dev.jsonl", "dev.tsv"])],
            layouts: &[
                Layout { extension: "jsonl", columns: PREMISE_HYPOTHESIS },
                Layout {
                    extension: "tsv",
                    columns: Columns::Header(Fields {
                        id: Some("index"),
                        text: "sentence1",
                        pair: Some("sentence2"),
                        label: "label",
                    }),
                },
            ],
            companion: None,
            known_bad: None,
        },
        head: TaskHead::Classification,
        labels: &["entailment", "not_entailment"],
        metric: Metric::Accuracy,
    },
    Task {
        name: "sst2",
        citation: "Socher et al. 2013, Recursive Deep Models for Semantic Compositionality",
        licence: "research use; no licence stated",
        hub: Some(Hub { dataset: "nyu-mll/glue", config: "sst2" }),
        files: TaskFiles {
            folders: &["sst2", "SST-2", "sst-2"],
            train: &["train.tsv"],
            dev: &[("", &["dev.tsv"])],
            layouts: &[Layout {
                extension: "tsv",
                columns: Columns::Header(Fields { id: None, text: "sentence", pair: None, label: "label" }),
            }],
            companion: None,
            known_bad: None,
        },
        head: TaskHead::Classification,
        labels: &["0", "1"],
        metric: Metric::Accuracy,
    },
];
