//! Acceptability of sentences whose function words were swapped (Kim et al. 2019), as redistributed with DNC.

use crate::metric::Metric;
use crate::task::{Columns, Companion, Fields, Layout, Task, TaskFiles, TaskHead};

/// One row per task.
pub(super) const TASKS: &[Task] = &[
    row(
        "aj-coord",
        &["acceptability-coordinating-conjunctions_data.json"],
        &[("", &["acceptability-coordinating-conjunctions_data.json"])],
        &SENTENCE,
    ),
    row(
        "aj-def",
        &["acceptability-definiteness_data.json"],
        &[("", &["acceptability-definiteness_data.json"])],
        &SENTENCE,
    ),
    row("aj-eos", &["acceptability-eos_data.json"], &[("", &["acceptability-eos_data.json"])], &PAIR),
    row("aj-wh", &["acceptability-whwords_data.json"], &[("", &["acceptability-whwords_data.json"])], &SENTENCE),
];

const SENTENCE: [Layout; 1] = [layout(None)];
/// The text comes in two parts; the label says whether they were split at a sentence boundary.
const PAIR: [Layout; 1] = [layout(Some("hypothesis"))];

const fn layout(pair: Option<&'static str>) -> Layout {
    let fields = Fields { id: Some("pair-id"), text: "context", pair, label: "label" };
    Layout { extension: "json", columns: Columns::JsonArray(fields) }
}

/// A row of the four probes, which differ only in name, files and layout. One file holds both splits.
const fn row(
    name: &'static str,
    file: &'static [&'static str],
    dev: &'static [(&'static str, &'static [&'static str])],
    layouts: &'static [Layout],
) -> Task {
    Task {
        name,
        citation: "Kim et al. 2019, Probing What Different NLP Tasks Teach Machines about Function Word Comprehension",
        licence: "by part: Billion Word (Apache-2.0), WikiText (CC BY-SA)",
        hub: None,
        files: TaskFiles {
            folders: &["aj"],
            train: file,
            dev,
            layouts,
            companion: Some(Companion::Folds),
            known_bad: None,
        },
        head: TaskHead::Classification,
        labels: &["unacceptable", "acceptable"],
        metric: Metric::AccuracyF1,
    }
}
