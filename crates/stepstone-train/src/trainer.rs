//! The training loop: steps, evaluation, best weights, resume points.

use crate::batches::Order;
use crate::error::TrainError;
use crate::folder::{FORMAT, Scores, Timing};
use crate::model::{self, Heads};
use crate::preset::Optimizer;
use crate::resume::{self, Best, State};
use crate::run::Run;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use stepstone_engine::{AdamW, Arena, Batch, CpuDevice, Device, Scalars, Threads, Update};
use stepstone_files::write_atomically;
use stepstone_models::{Classifier, InferencePass, TrainingPass};
use stepstone_tasks::NamedScore;

/// Sequences of one evaluation batch.
const EVALUATION_BATCH: usize = 64;
/// Gradient norms that a failure shows.
const NORMS_KEPT: usize = 8;
/// Lines that training writes into the log, about.
const LOG_LINES: u64 = 200;

/// How the caller steers a run.
pub struct Control<'a> {
    /// Set: save and stop after the step, or the batch of an evaluation, in progress.
    pub stop: &'a AtomicBool,
    /// Least time between two resume points, which are made at evaluations.
    pub resume_interval: Duration,
    /// Asked before every write that others rely on: false if another worker has taken the run over.
    pub still_ours: &'a dyn Fn() -> bool,
}

/// What a caller may show while a run trains.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Progress {
    pub step: u64,
    pub total_steps: u64,
    pub loss: f64,
    pub learning_rate: f64,
    pub tokens_per_second: f64,
    /// Of the steps and evaluations that are left, at the speed so far.
    pub seconds_left: f64,
    /// The primary score, right after an evaluation.
    pub score: Option<f64>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All steps are done and the scores are written.
    Done(Scores),
    /// Stopped by the caller after this many steps; the state is saved.
    Stopped {
        /// Steps done.
        step: u64,
    },
}

impl Run {
    /// Trains, or goes on where an earlier call was stopped; a finished run returns its scores at once.
    ///
    /// # Errors
    /// If the folder cannot be written or holds another run, or if the loss is no longer finite.
    pub fn train(&self, control: &Control<'_>, report: &mut dyn FnMut(&Progress)) -> Result<Outcome, TrainError> {
        self.folder.open(&self.record)?;
        if let Some(scores) = self.folder.scores()? {
            return Ok(Outcome::Done(scores));
        }
        self.folder.forget_failure()?;
        let (mut trainer, new) = Trainer::new(self)?;
        if let Some((state, best)) =
            resume::load(&self.folder, &self.record.id, &mut trainer.device, trainer.model.layout.len)
        {
            (trainer.state, trainer.best) = (state, best);
        }
        let start =
            json!({"step": trainer.state.step, "new_tensors": new, "truncated": self.truncated, "notes": self.notes});
        self.folder.log(if trainer.state.step == 0 { "start" } else { "resume" }, start)?;
        trainer.steps(control, report)
    }
}

pub(crate) struct Trainer<'a> {
    run: &'a Run,
    model: Classifier,
    training: TrainingPass,
    inference: InferencePass,
    decays: Vec<bool>,
    tensors: Vec<Range<usize>>,
    order: Order,
    device: CpuDevice,
    pub(crate) state: State,
    best: Vec<f32>,
    norms: Vec<f64>,
    pub(crate) clock: Timing,
}

impl<'a> Trainer<'a> {
    /// A trainer before its first step, and the names of the tensors that started anew.
    pub(crate) fn new(run: &'a Run) -> Result<(Self, Vec<String>), TrainError> {
        let (recipe, threads) = (run.recipe(), run.threads);
        let model = Classifier::new(&run.config, recipe.head, run.answers());
        let pool = Threads::new(threads).map_err(|source| TrainError::Threads { threads, source })?;
        let mut device = CpuDevice::new(model.layout.len, pool);
        let heads = Heads::New { seed: run.seed() };
        let new = model::load(&model, &run.config, recipe.head, &run.weights, heads, &mut device)?;
        let trainer = Trainer {
            run,
            training: model.training_pass(),
            inference: model.inference_pass(),
            decays: match recipe.optimization.optimizer {
                Optimizer::AdamW => model.layout.decays(),
                Optimizer::BertAdam => vec![true; model.layout.decays().len()],
            },
            tensors: model.layout.part_ranges(),
            order: Order::new(run.seed(), run.train.gold.len(), recipe.schedule.batch_size),
            state: State { run_id: run.record.id.clone(), ..State::default() },
            best: vec![0.0; model.layout.len],
            norms: Vec::new(),
            clock: Timing { format: FORMAT, threads, ..Timing::default() },
            device,
            model,
        };
        Ok((trainer, new))
    }

    fn steps(&mut self, control: &Control<'_>, report: &mut dyn FnMut(&Progress)) -> Result<Outcome, TrainError> {
        let total = self.run.recipe().schedule.total_steps;
        let log_every = (total / LOG_LINES).max(1);
        let mut last_save = Instant::now();
        let mut loss = f64::NAN;
        loop {
            if self.evaluation_is_due() {
                let Some(score) = self.evaluate_and_keep_best(control)? else { return self.stopped(control) };
                report(&self.progress(loss, Some(score)));
                if self.state.step < total && !self.out_of_patience() && last_save.elapsed() >= control.resume_interval
                {
                    self.save(control)?;
                    last_save = Instant::now();
                }
            } else if self.state.step < total && !self.out_of_patience() {
                loss = self.step()?;
                let done = self.state.step;
                if done.is_multiple_of(log_every) || done == 1 {
                    self.log_step(loss)?;
                }
                report(&self.progress(loss, None));
            } else {
                return match self.finish(control)? {
                    Some(scores) => Ok(Outcome::Done(scores)),
                    None => self.stopped(control),
                };
            }
            if control.stop.load(Ordering::Relaxed) {
                return self.stopped(control);
            }
        }
    }

    fn stopped(&mut self, control: &Control<'_>) -> Result<Outcome, TrainError> {
        self.save(control)?;
        Ok(Outcome::Stopped { step: self.state.step })
    }

    /// Whether the dev split is to be scored before the next step. A run stopped inside an evaluation repeats it.
    fn evaluation_is_due(&self) -> bool {
        self.run.recipe().evaluates_after(self.state.step) && self.state.evaluated != self.state.step
    }

    /// Whether too many evaluations in a row were no better than the best.
    fn out_of_patience(&self) -> bool {
        self.run.recipe().selection.patience.is_some_and(|patience| self.state.since_best > patience)
    }

    /// One optimizer step, in one or more micro-batches; returns the mean loss in nats.
    pub(crate) fn step(&mut self) -> Result<f64, TrainError> {
        let started = Instant::now();
        let (run, recipe, step) = (self.run, self.run.recipe(), self.state.step);
        let rows = self.order.step(step);
        let scalars = Scalars { seed: run.seed(), step: step as u32, loss_scale: 1.0 / rows.len() as f64 };
        let (mut loss, mut first) = (0.0, 0);
        for part in rows.chunks(rows.len().div_ceil(recipe.schedule.gradient_accumulation_steps)) {
            let batch = self.pack(part, first)?;
            self.device.run(&self.training.program, &batch, scalars);
            loss += self.device.read(self.training.losses).iter().sum::<f64>() * scalars.loss_scale;
            self.clock.tokens += batch.tokens() as u64;
            first += part.len();
        }
        let adamw = AdamW {
            learning_rate: recipe.learning_rate_at(step),
            beta1: recipe.optimization.adam_beta1,
            beta2: recipe.optimization.adam_beta2,
            epsilon: recipe.optimization.adam_epsilon,
            weight_decay: recipe.optimization.weight_decay,
            step: step + 1,
            bias_correction: recipe.optimization.optimizer == Optimizer::AdamW,
            gradient_scale: 1.0,
        };
        self.device.update(&Update {
            adamw,
            max_gradient_norm: recipe.optimization.max_grad_norm as f32,
            max_tensor_norm: recipe.optimization.max_tensor_norm as f32,
            tensors: &self.tensors,
            decays: &self.decays,
        });
        let norm = self.device.gradient_norm();
        if !loss.is_finite() || !norm.is_finite() {
            return Err(TrainError::NotFinite { step: step + 1, loss, norms: self.norms.clone() });
        }
        self.norms.push(norm);
        if self.norms.len() > NORMS_KEPT {
            self.norms.remove(0);
        }
        self.state.step += 1;
        self.state.loss_sum += loss;
        self.state.loss_steps += 1;
        self.clock.step_seconds += started.elapsed().as_secs_f64();
        self.clock.steps += 1;
        Ok(loss)
    }

    fn pack(&self, rows: &[u32], first: usize) -> Result<Batch, TrainError> {
        self.run.train.pack(rows, first, self.run.pack_shape()).map_err(too_large)
    }

    /// Logits `[examples, answers]` of the first dev examples with the weights in the device; None if `stop` was set
    /// meanwhile.
    pub(crate) fn dev_logits(&mut self, examples: usize, stop: &AtomicBool) -> Result<Option<Vec<f64>>, TrainError> {
        let started = Instant::now();
        let rows: Vec<u32> = (0..examples as u32).collect();
        let (mut logits, mut tokens) = (Vec::new(), 0);
        for part in rows.chunks(EVALUATION_BATCH) {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let batch = self.run.dev.pack(part, 0, self.run.pack_shape()).map_err(too_large)?;
            self.device.run(&self.inference.program, &batch, Scalars { seed: 0, step: 0, loss_scale: 0.0 });
            logits.extend(self.device.read(self.inference.logits));
            tokens += batch.tokens() as u64;
        }
        self.clock.evaluation_seconds += started.elapsed().as_secs_f64();
        self.clock.evaluation_tokens += tokens;
        self.clock.evaluations += 1;
        Ok(Some(logits))
    }

    /// The primary score; None if the run was stopped meanwhile.
    fn evaluate_and_keep_best(&mut self, control: &Control<'_>) -> Result<Option<f64>, TrainError> {
        let step = self.state.step;
        self.run.folder.log("evaluating", json!({"step": step}))?;
        let all = self.run.dev.gold.len();
        let examples = self.run.recipe().selection.selection_examples.map_or(all, |most| most.min(all));
        let Some(logits) = self.dev_logits(examples, control.stop)? else { return Ok(None) };
        let scores = self.score(&argmax(&logits, self.model.answers.count()), 0..examples);
        let score = scores[0].value;
        let state = &mut self.state;
        state.evaluated = step;
        state.since_best += 1;
        if state.best.is_none_or(|best| score > best.score) {
            (state.best, state.since_best) = (Some(Best { step, score }), 0);
            self.device.store(Arena::Parameters, 0, &mut self.best);
        }
        state.loss = state.loss_sum / state.loss_steps.max(1) as f64;
        (state.loss_sum, state.loss_steps) = (0.0, 0);
        let mut fields = serde_json::Map::from_iter([("step".to_owned(), json!(step))]);
        fields.extend(scores.iter().map(|s| (format!("eval_{}", s.name), json!(s.value))));
        self.run.folder.log("evaluation", fields.into())?;
        Ok(Some(score))
    }

    fn score(&self, predicted: &[u32], range: Range<usize>) -> Vec<NamedScore> {
        self.run.task.metric.score(&predicted[range.clone()], &self.run.dev.gold[range], self.model.answers.count())
    }

    fn save(&mut self, control: &Control<'_>) -> Result<(), TrainError> {
        let step = self.state.step;
        self.check_still_ours(control)?;
        self.run.folder.log("saving", json!({"step": step}))?;
        resume::save(&self.run.folder, &self.state, &self.device, &self.best, self.model.layout.len)?;
        self.run.folder.log("saved", json!({"step": step}))
    }

    fn check_still_ours(&self, control: &Control<'_>) -> Result<(), TrainError> {
        if (control.still_ours)() { Ok(()) } else { Err(TrainError::Lost { id: self.run.record.id.clone() }) }
    }

    /// Scores the best weights once more and writes model, predictions and, last, the scores. None if the run was
    /// stopped meanwhile.
    fn finish(&mut self, control: &Control<'_>) -> Result<Option<Scores>, TrainError> {
        let (run, folder) = (self.run, &self.run.folder);
        let best = self.state.best.unwrap_or(Best { step: self.state.step, score: f64::NAN });
        let last = self.parameters();
        self.device.load(Arena::Parameters, 0, &self.best);
        let Some(logits) = self.dev_logits(run.dev.gold.len(), control.stop)? else {
            self.device.load(Arena::Parameters, 0, &last);
            return Ok(None);
        };
        let predicted = argmax(&logits, self.model.answers.count());
        self.check_still_ours(control)?;
        folder.log("writing", json!({"step": self.state.step}))?;
        if run.keep_model {
            let _ = fs::remove_dir_all(folder.file("model")); // of an attempt that was killed before its scores
            model::save(&folder.file("model"), run, &self.model, &self.best)?;
        }
        self.write_predictions(&logits, &predicted)?;
        let part = |part: &stepstone_tasks::DevPart| {
            let scores = self.score(&predicted, part.range.clone()).into_iter();
            scores.map(|s| NamedScore { name: format!("{}.{}", part.name, s.name), ..s }).collect::<Vec<_>>()
        };
        let scores = Scores {
            format: FORMAT,
            run_id: run.record.id.clone(),
            task: run.task.name.into(),
            scores: self.score(&predicted, 0..predicted.len()),
            parts: run.data.dev_parts.iter().flat_map(part).collect(),
            n_train: run.train.gold.len(),
            n_dev: run.dev.gold.len(),
            n_classes: self.model.answers.count(),
            majority_score: run.task.metric.majority_score(&run.dev.gold, self.model.answers.count()),
            steps: self.state.step,
            best_step: best.step,
            final_train_loss: self.state.loss,
            n_distinct_pred: predicted.iter().collect::<BTreeSet<_>>().len(),
        };
        self.clock.activation_bytes = self.device.activation_bytes();
        folder.write("timing.json", &self.clock)?;
        self.check_still_ours(control)?;
        folder.write("scores.json", &scores)?;
        folder.log("done", json!({"step": self.state.step, "best_step": best.step}))?;
        let _ = fs::remove_dir_all(folder.file("resume")); // done: a left-over costs disk, nothing else
        Ok(Some(scores))
    }

    fn parameters(&self) -> Vec<f32> {
        let mut parameters = vec![0.0; self.model.layout.len];
        self.device.store(Arena::Parameters, 0, &mut parameters);
        parameters
    }

    fn write_predictions(&self, logits: &[f64], predicted: &[u32]) -> Result<(), TrainError> {
        let (labels, path) = (&self.run.data.labels, self.run.folder.file("predictions.jsonl"));
        let mut text = String::new();
        let rows = self.run.data.dev.iter().zip(logits.chunks_exact(labels.len())).zip(predicted);
        for (((example, logits), predicted), gold) in rows.zip(&self.run.dev.gold) {
            let logits: Vec<f32> = logits.iter().map(|z| *z as f32).collect();
            let (gold, predicted) = (&labels[*gold as usize], &labels[*predicted as usize]);
            let line = json!({"id": example.id, "gold": gold, "predicted": predicted, "logits": logits});
            let _ = writeln!(text, "{line}"); // a String takes every write
        }
        write_atomically(&path, text.as_bytes()).map_err(TrainError::write(&path))
    }

    fn log_step(&self, loss: f64) -> Result<(), TrainError> {
        let (recipe, step) = (self.run.recipe(), self.state.step);
        let epoch = (step * recipe.schedule.batch_size as u64) as f64 / self.run.train.gold.len() as f64;
        let learning_rate = recipe.learning_rate_at(step - 1);
        let fields = json!({
            "step": step, "epoch": epoch, "loss": loss, "learning_rate": learning_rate, "grad_norm": self.norms.last(),
        });
        self.run.folder.log("step", fields)
    }

    fn progress(&self, loss: f64, score: Option<f64>) -> Progress {
        let (recipe, step, clock) = (self.run.recipe(), self.state.step, &self.clock);
        let per_step = clock.step_seconds / clock.steps.max(1) as f64;
        let tokens_per_second = clock.tokens as f64 / clock.step_seconds.max(1e-9);
        // Before the first evaluation: a forward pass costs about a third of a step, token for token.
        let dev_tokens: usize = self.run.dev.features.iter().map(|f| f.ids.len()).sum();
        let per_evaluation = match clock.evaluations {
            0 => dev_tokens as f64 / tokens_per_second / 3.0,
            n => clock.evaluation_seconds / n as f64,
        };
        let evaluations_done = step * recipe.selection.evaluations / recipe.schedule.total_steps;
        // One more than planned: the best weights are scored again at the end.
        let evaluations_left = recipe.selection.evaluations - evaluations_done + 1;
        Progress {
            step,
            total_steps: recipe.schedule.total_steps,
            loss,
            learning_rate: recipe.learning_rate_at(step - 1),
            tokens_per_second,
            seconds_left: (recipe.schedule.total_steps - step) as f64 * per_step
                + evaluations_left as f64 * per_evaluation,
            score,
        }
    }
}

/// Index of the largest of each `classes` logits, the first on ties.
pub(crate) fn argmax(logits: &[f64], classes: usize) -> Vec<u32> {
    let best = |row: &[f64]| (1..classes).fold(0, |best, i| if row[i] > row[best] { i } else { best }) as u32;
    logits.chunks_exact(classes).map(best).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
fn too_large(error: stepstone_engine::PackError) -> TrainError {
    TrainError::Recipe { key: "batch_size", found: error.to_string(), expected: "a smaller batch".into() }
}
