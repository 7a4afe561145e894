//! A tiny encoder, a made-up task and runs over them, for the tests of this crate.

use crate::control::Control;
use crate::overrides::{Layer, Source};
use crate::preset::Preset;
use crate::role::Role;
use crate::run::{Run, RunRequest};
use crate::start::StartPoint;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use stepstone_tasks::Files;

/// Rows of the encoder's embedding table.
pub(crate) const TABLE: usize = 61;
/// Training examples of the made-up task.
// In batches of 5 the last batch of an epoch has a single example.
pub(crate) const TRAIN: usize = 26;

/// A folder with an encoder in `model` and sst2-like data in `data`. The vocabulary has words `w5` to `w69`, named by
/// their ids: more than the encoder's table has rows.
pub(crate) fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a folder");
    let data = place.path().join("data/sst2");
    let words: Vec<String> = (5..70).map(|id| format!("w{id}")).collect();
    stepstone_fixtures::copy_encoder(&place.path().join("model"), &words);
    fs::create_dir_all(&data).expect("folder");
    for (file, rows) in [("train.tsv", TRAIN), ("dev.tsv", 10)] {
        // The first word tells the class, so the task can be learned.
        let row = |i: usize| format!("w{} w{}\t{}\n", 5 + i % 2, 10 + i, i % 2);
        let text: String = (0..rows).map(row).collect();
        fs::write(data.join(file), format!("sentence\tlabel\n{text}")).expect("data");
    }
    place
}

/// Two steps with two evaluations, written to `out`; `values` replace those of the recipe.
pub(crate) fn request(place: &Path, out: &str, values: &Value) -> RunRequest {
    let mut overrides = json!({"max_length": 8, "batch_size": 5, "max_steps": 2, "evaluations": 2});
    let set = overrides.as_object_mut().expect("an object");
    // A recipe takes epochs or steps, not both.
    if values.get("epochs").is_some() {
        set.remove("max_steps");
    }
    set.extend(values.as_object().expect("an object").clone());
    let overrides = serde_json::from_value(overrides).expect("overrides");
    RunRequest {
        start: StartPoint::encoder(&place.join("model")),
        task: "sst2".into(),
        role: Role::Target,
        data: place.join("data"),
        files: Files::default(),
        seed: 0,
        preset: Preset::default(),
        layers: vec![Layer { source: Source::Flag, overrides }],
        out: Some(place.join(out)),
        keep_model: true,
        threads: 1,
    }
}

/// The run of that request, prepared.
pub(crate) fn run(place: &Path, out: &str, values: &Value) -> Run {
    Run::prepare(&request(place, out, values)).expect("a run")
}

/// A caller that has the run to itself and wants a resume point at every evaluation.
pub(crate) fn control(stop: &AtomicBool) -> Control<'_> {
    Control { stop, resume_interval: Duration::ZERO, still_ours: &|| true }
}

/// Trains a run to its end.
pub(crate) fn train(run: &Run) {
    run.train(&control(&AtomicBool::new(false)), &mut |_| {}).expect("trains");
}

/// Takes the digests out of the scores of a run, which then are those of an older version.
pub(crate) fn without_digests(run: &Run) {
    let path = run.folder.file("scores.json");
    let mut scores: Value = serde_json::from_slice(&fs::read(&path).expect("scores")).expect("JSON");
    let fields = scores.as_object_mut().expect("an object");
    fields.insert("format".into(), 1.into());
    assert!(fields.remove("digest").is_some() && fields.remove("files").is_some());
    fs::write(&path, scores.to_string()).expect("writes");
}
