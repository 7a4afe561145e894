//! Exports a finished run as a folder for others: the model, and a card that says where it comes from and how well it
//! scores.

use crate::error::TrainError;
use crate::finished::{SavedModel, finished, verified};
use crate::folder::RunRecord;
use crate::model::HEAD_FILE;
use crate::predict::task_of;
use crate::scores::Scores;
use crate::verify::{digest, model_files};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use stepstone_files::write_atomically;
use stepstone_models::{EncoderConfig, HeadKind, ModelError};
use stepstone_tasks::{Task, TaskHead};

/// Copies the model of a finished run to `dir`, with a model card, and reads the copy once. If that fails, `dir` is left as
/// it was.
///
/// # Errors
/// If the run is not finished, its files are not as it wrote them, `dir` exists and is not empty, or a write fails.
pub fn export(run: &Path, dir: &Path) -> Result<(), TrainError> {
    // Everything is read and checked before the first write.
    let card = Card::of(run)?;
    let files = model_files(&run.join("model"))?;
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(ModelError::NotEmpty { path: dir.into() }.into());
    }
    // Noted before anything is created: a failed export removes only what it made, the innermost folder first.
    let made: Vec<&Path> = dir.ancestors().take_while(|folder| !folder.exists()).collect();
    let mut targets = Vec::new();
    write(&card, &files, dir, &mut targets).inspect_err(|_| {
        // Clean-up is best effort; the original error is returned.
        targets.iter().for_each(|target| drop(fs::remove_file(target)));
        made.iter().for_each(|folder| drop(fs::remove_dir(folder)));
    })
}

/// Writes the folder of an export and reads its model back; `targets` lists what may lie there, whole or in part.
fn write(card: &Card, files: &[PathBuf], dir: &Path, targets: &mut Vec<PathBuf>) -> Result<(), TrainError> {
    fs::create_dir_all(dir).map_err(|source| TrainError::Create { path: dir.into(), source })?;
    for file in files {
        let target = dir.join(file.file_name().unwrap_or_default());
        // Listed before the copy, so that a torn copy is removed too.
        targets.push(target.clone());
        stepstone_files::copy(file, &target).map_err(TrainError::write(&target))?;
        if digest(&target)? != digest(file)? {
            let differs = io::Error::other(format!("the copy differs from {}", file.display()));
            return Err(TrainError::write(&target)(differs));
        }
    }
    let readme = dir.join("README.md");
    targets.push(readme.clone());
    write_atomically(&readme, card.text().as_bytes()).map_err(TrainError::write(&readme))?;
    SavedModel::open(dir, &card.record)?.check(card.task, &card.record)
}

/// Contents of a model card.
struct Card {
    task: &'static Task,
    record: RunRecord,
    scores: Scores,
    encoder: EncoderConfig,
    /// The runs before this one, earliest first, as far as their folders lie beside its own.
    before: Vec<(RunRecord, Scores)>,
}

impl Card {
    /// The card of a run whose files are all as it wrote them.
    fn of(run: &Path) -> Result<Self, TrainError> {
        let (record, scores) = verified(run)?;
        let mut before: Vec<(RunRecord, Scores)> = Vec::new();
        let store = run.canonicalize().ok().and_then(|run| run.parent().map(Path::to_path_buf)).unwrap_or_default();
        // The digest of a run's start names the run before it, so the chain is followed without any index.
        let mut start = record.identity.encoder.clone();
        while let Some(id) = start.strip_prefix("run:") {
            // Earlier runs may lie elsewhere; the card then begins with the earliest that is found.
            let Ok(found) = finished(&store.join(id)) else { break };
            start.clone_from(&found.0.identity.encoder);
            before.insert(0, found);
        }
        let (task, model) = (task_of(run, &record)?, SavedModel::open(&run.join("model"), &record)?);
        model.check(task, &record)?;
        Ok(Self { task, record, scores, encoder: model.config, before })
    }

    fn text(&self) -> String {
        let mut card = self.front_matter();
        let _ = write!(card, "\n# {} fine-tuned by stepstone\n\n", self.task.name);
        let _ = writeln!(card, "Run `{}`, seed {}.", self.record.id, self.record.identity.seed);
        for section in [self.lineage(), self.scores(), self.training()] {
            card.push_str(&section);
        }
        card
    }

    /// The header that the hub reads. Source: `model-index` of the hub's model card specification.
    fn front_matter(&self) -> String {
        let of_task = match self.task.head {
            TaskHead::Classification => "text-classification",
            TaskHead::MultipleChoice => "multiple-choice",
        };
        let pipeline = match self.record.identity.recipe.head {
            HeadKind::Hf => of_task,
            HeadKind::Linear => "feature-extraction",
        };
        // MNLI's dev split is two splits of the hub; its `datasets` library joins the names of splits by `+`.
        let part = |part: &str| if part.is_empty() { "validation".into() } else { format!("validation_{part}") };
        let split = self.task.files.dev.iter().map(|(name, _)| part(name)).collect::<Vec<String>>().join("+");
        // A data set that is not on the hub is named after its task.
        let (datasets, dataset, config) = match self.task.hub {
            Some(hub) => (format!("datasets:\n- {}\n", hub.dataset), hub.dataset, format!("config: {}, ", hub.config)),
            None => (String::new(), self.task.name, String::new()),
        };
        let mut text = format!(
            "---\nlibrary_name: transformers\npipeline_tag: {pipeline}\n{datasets}tags:\n- stepstone\n\
             - intermediate-task-transfer\nmodel-index:\n- name: \"{0}\"\n  results:\n  - task: {{type: {of_task}}}\n    \
             dataset: {{type: {dataset}, name: {1}, {config}split: {split}}}\n    metrics:\n",
            self.record.id, self.task.name
        );
        for score in &self.scores.scores {
            let _ = writeln!(text, "    - {{type: {}, value: {}}}", score.name, score.value);
        }
        text + "---\n"
    }

    /// The encoder, then each run, with the licence and digest of its data.
    fn lineage(&self) -> String {
        let first = self.before.first().map_or(&self.record, |(record, _)| record);
        let mut text = String::from("\n## Lineage\n\n| stage | what | licence | blake3 |\n|---|---|---|---|\n");
        let shape = format!(
            "{}, {} layers of width {}",
            self.encoder.family.encoder_architecture(),
            self.encoder.num_hidden_layers,
            self.encoder.hidden_size
        );
        // The digest of the encoder's files, or the run that stands in for it where the folder of that run is missing.
        let (kind, id) = first.identity.encoder.split_once(':').unwrap_or(("files", &first.identity.encoder));
        let _ = writeln!(text, "| encoder | {shape} | its publisher's | {kind} `{id}` |");
        for (record, scores) in self.before.iter().map(|(r, s)| (r, s)).chain([(&self.record, &self.scores)]) {
            let task = stepstone_tasks::find(&record.identity.task);
            let (citation, licence) = task.map_or(("", "unknown"), |task| (task.citation, task.licence));
            let _ = writeln!(
                text,
                "| {} | {} training examples ({citation}) | {licence} | data `{}`, run `{}`, seed {} |",
                scores.task, scores.data.n_train, record.identity.data, record.id, record.identity.seed
            );
        }
        text
    }

    fn scores(&self) -> String {
        let scores = &self.scores;
        let chose = match self.record.identity.recipe.selection.selection_examples {
            Some(most) if most < scores.data.n_dev => format!("the first {most} of which"),
            _ => "which".into(),
        };
        let mut text = format!(
            "\n## Scores\n\nOn the {} examples of the dev split of {}, {chose} also chose the checkpoint.\n\n\
             | metric | value |\n|---|---|\n",
            scores.data.n_dev, scores.task
        );
        for score in scores.scores.iter().chain(&scores.parts) {
            let _ = writeln!(text, "| {} | {:.4} |", score.name, score.value);
        }
        let _ = writeln!(
            text,
            "| best constant prediction, {} | {:.4} |",
            self.task.metric.name(),
            scores.data.majority_score
        );
        text
    }

    fn training(&self) -> String {
        let (recipe, scores) = (&self.record.identity.recipe, &self.scores);
        let mut text = format!(
            "\n## Training\n\n{}, learning rate {}, weight decay {}, batch {}, {} steps (best after {}), max_length {}.\n",
            recipe.optimization.optimizer,
            recipe.optimization.learning_rate,
            recipe.optimization.weight_decay,
            recipe.schedule.batch_size,
            scores.steps,
            scores.best_step,
            recipe.inputs.max_length
        );
        match recipe.head {
            HeadKind::Hf => {
                let class = match self.task.head {
                    TaskHead::Classification => "AutoModelForSequenceClassification",
                    TaskHead::MultipleChoice => "AutoModelForMultipleChoice",
                };
                let _ = writeln!(text, "Load it with `{class}`.");
            }
            HeadKind::Linear => {
                let _ = writeln!(
                    text,
                    "\n## The head\n\n`model.safetensors` is the encoder alone: load it with `AutoModel`. Its pooler, if it \
                     has one, is that of the start point, because this head does not use it. The head is one linear layer on \
                     the last state of the first token, logits = state x weight^T + bias; transformers has no class for it. \
                     `{HEAD_FILE}` holds `classifier.weight` [{labels}, {hidden}] and \
                     `classifier.bias` [{labels}]{names}",
                    labels = match self.task.head {
                        TaskHead::Classification => scores.data.n_classes,
                        TaskHead::MultipleChoice => 1,
                    },
                    names = match self.task.head {
                        TaskHead::Classification => "; the labels are in `id2label` of config.json.",
                        TaskHead::MultipleChoice => ": the score of one choice.",
                    },
                    hidden = self.encoder.hidden_size
                );
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Run, RunRequest};
    use crate::start::StartPoint;
    use crate::testing::{place, request, run, train, without_digests};
    use serde_json::json;

    /// Names in a folder, sorted.
    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_export_is_the_model_byte_for_byte_and_its_card() {
        let place = place();
        let run = run(place.path(), "run", &json!({}));
        train(&run);
        let (model, dir) = (run.folder.file("model"), place.path().join("new/exported"));
        export(run.folder.path(), &dir).expect("exports");
        let mut want = names(&model);
        for name in &want {
            assert!(fs::read(dir.join(name)).expect(name) == fs::read(model.join(name)).expect(name), "{name}");
        }
        want.insert(0, "README.md".into());
        assert_eq!(names(&dir), want);
        let card = fs::read_to_string(dir.join("README.md")).expect("a card");
        for part in [
            "pipeline_tag: text-classification\ndatasets:\n- nyu-mll/glue\n",
            "dataset: {type: nyu-mll/glue, name: sst2, config: sst2, split: validation}",
            "On the 10 examples of the dev split of sst2, which also chose the checkpoint.",
            "# sst2 fine-tuned by stepstone",
            "| encoder | BertModel, ",
            "26 training examples",
            "Load it with `AutoModelForSequenceClassification`.",
        ] {
            assert!(card.contains(part), "{part}\n{card}");
        }
        assert!(card.contains(&format!("Run `{}`, seed 0.", run.record.id)), "{card}");
    }

    #[test]
    fn a_card_says_which_part_of_the_dev_split_chose_the_checkpoint() {
        let place = place();
        let run = run(place.path(), "run", &json!({}));
        train(&run);
        let mut card = Card::of(run.folder.path()).expect("a card");
        for (most, want) in [(4, "the first 4 of which also"), (10, "which also"), (5000, "which also")] {
            card.record.identity.recipe.selection.selection_examples = Some(most);
            let want = format!("On the 10 examples of the dev split of sst2, {want} chose the checkpoint.");
            assert!(card.text().contains(&want), "{}", card.text());
        }
    }

    #[test]
    fn a_card_names_the_splits_that_the_hub_has() {
        let place = place();
        let run = run(place.path(), "run", &json!({}));
        train(&run);
        let mut card = Card::of(run.folder.path()).expect("a card");
        card.task = stepstone_tasks::find("mnli").expect("a task");
        let card = card.text();
        assert!(card.contains("config: mnli, split: validation_matched+validation_mismatched}"), "{card}");
    }

    #[test]
    fn the_card_of_a_linear_head_says_where_the_head_is_and_how_to_use_it() {
        let place = place();
        let run = run(place.path(), "run", &json!({"head": "linear"}));
        train(&run);
        export(run.folder.path(), &place.path().join("exported")).expect("exports");
        let card = fs::read_to_string(place.path().join("exported/README.md")).expect("a card");
        let hidden = run.start.config.hidden_size;
        assert!(card.contains("pipeline_tag: feature-extraction"), "{card}");
        assert!(card.contains(&format!("`{HEAD_FILE}` holds `classifier.weight` [2, {hidden}]")), "{card}");
        assert!(card.contains("`classifier.bias` [2]; the labels are in `id2label` of config.json."), "{card}");
    }

    #[test]
    fn the_lineage_lists_every_run_on_the_way_whose_folder_lies_beside() {
        let place = place();
        // Each run has a folder named by its id, as in a store.
        let in_store = |request: RunRequest| {
            let id = Run::prepare(&request).expect("a run").record.id;
            let out = Some(place.path().join("store").join(id));
            let run = Run::prepare(&RunRequest { out, ..request }).expect("a run");
            train(&run);
            run
        };
        let parent = in_store(request(place.path(), "", &json!({})));
        let start = StartPoint { folder: parent.folder.file("model"), run: Some(parent.record.id.clone()) };
        let child = in_store(RunRequest { start, seed: 7, ..request(place.path(), "", &json!({})) });
        let lineage = || {
            let dir = tempfile::tempdir().expect("folder");
            export(child.folder.path(), dir.path()).expect("exports");
            let card = fs::read_to_string(dir.path().join("README.md")).expect("a card");
            let rows = card.lines().filter(|line| ["| sst2 |", "| encoder |"].iter().any(|row| line.starts_with(row)));
            rows.map(str::to_owned).collect::<Vec<_>>()
        };
        let lines = lineage();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].contains(&parent.record.identity.encoder), "the pretrained encoder's files: {lines:?}");
        assert!(lines[1].contains(&parent.record.id) && lines[2].contains(&child.record.id), "{lines:?}");
        fs::remove_dir_all(parent.folder.path()).expect("removes");
        let lines = lineage();
        let start = format!("| run `{}` |", parent.record.id);
        assert!(lines.len() == 2 && lines[0].contains(&start), "the run it started from: {lines:?}");
    }

    #[test]
    fn an_export_that_fails_leaves_the_folder_as_it_was() {
        let place = place();
        let run = run(place.path(), "run", &json!({}));
        let (new, full) = (place.path().join("exported"), place.path().join("full"));
        let error = export(run.folder.path(), &new).expect_err("not trained");
        assert!(matches!(error, TrainError::MissingRun { .. }), "{error:?}");
        train(&run);
        fs::create_dir(&full).expect("folder");
        fs::write(full.join("mine"), "text").expect("file");
        let error = export(run.folder.path(), &full).expect_err("not empty");
        assert!(matches!(error, TrainError::Model(ModelError::NotEmpty { .. })), "{error:?}");
        assert_eq!(names(&full), ["mine"]);
        // Without digests the folder is noticed only when it is to be copied, after other files.
        without_digests(&run);
        fs::create_dir(run.folder.file("model/x")).expect("a folder, which is not copied");
        export(run.folder.path(), &new.join("inner")).expect_err("not a file");
        assert!(!new.exists(), "the folder around it was made too");
        fs::create_dir(&new).expect("folder");
        export(run.folder.path(), &new).expect_err("not a file");
        assert!(names(&new).is_empty());
    }

    #[test]
    fn a_model_that_nobody_could_load_is_refused_before_anything_is_written() {
        let place = place();
        let dir = place.path().join("exported");
        for (number, head) in ["hf", "linear"].into_iter().enumerate() {
            let run = run(place.path(), head, &json!({"head": head}));
            train(&run);
            // First with digests, then as an older version left it: then the files must at least be complete.
            for digests in [true, false] {
                if !digests {
                    without_digests(&run);
                }
                for name in
                    ["config.json", "model.safetensors", "vocab.txt", "head.safetensors"].iter().take(3 + number)
                {
                    let path = run.folder.file("model").join(name);
                    let bytes = fs::read(&path).expect("a file");
                    for cut in [None, Some(0), Some(20)] {
                        fs::remove_file(&path).expect("removes");
                        if let Some(length) = cut {
                            fs::write(&path, &bytes[..length]).expect("writes");
                        }
                        let error = export(run.folder.path(), &dir).expect_err("no usable model");
                        let found = matches!(&error, TrainError::BadRun { .. }) == digests;
                        assert!(found && error.to_string().contains(name), "{head} {name} cut to {cut:?}: {error:?}");
                        assert!(!dir.exists(), "{head} {name} cut to {cut:?}");
                        fs::write(&path, &bytes).expect("writes");
                    }
                }
            }
        }
    }
}
