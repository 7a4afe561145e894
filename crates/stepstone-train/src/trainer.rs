//! The training loop: steps, evaluations, best weights, resume points.

use crate::control::{Control, Outcome};
use crate::error::TrainError;
use crate::folder::{FORMAT, Timing};
use crate::inference::{DeviceModel, Logits, Unusable};
use crate::model::Heads;
use crate::progress::Progress;
use crate::publish::{Finished, score};
use crate::resume::{self, Best, State};
use crate::run::Run;
use crate::scores::Scores;
use crate::step::Stepper;
use serde_json::json;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use stepstone_engine::Device;

/// Approximate number of step lines per log.
const LOG_LINES: u64 = 200;

impl Run {
    /// Trains, or continues where an earlier call was stopped. A finished run returns its scores at once, unless one of
    /// its files is torn or missing; then it is trained again.
    ///
    /// # Errors
    /// If the folder cannot be written or holds another run, or if the loss, a weight or a logit is no longer finite.
    pub fn train(&self, control: &Control<'_>, report: &mut dyn FnMut(&Progress)) -> Result<Outcome, TrainError> {
        if let Some(scores) = self.finished()? {
            return Ok(Outcome::Done(scores));
        }
        control.check_still_ours(&self.record.id)?;
        // Removed before the first write, because a run killed from here on must not look finished or failed.
        self.folder.forget_scores()?;
        self.folder.forget_failure()?;
        self.folder.open(&self.record)?;
        let (mut trainer, new) = Trainer::new(self)?;
        match resume::load(self, &mut trainer.model) {
            Ok(Some(found)) => (trainer.state, trainer.best) = found,
            Ok(None) => {}
            Err(reason) => {
                // Logged first, so that the steps that it cost are explained even if this process is killed here.
                self.folder.log("discarded", json!({"what": "resume point", "reason": reason}))?;
                resume::remove(&self.folder);
            }
        }
        let start =
            json!({"step": trainer.state.step, "new_tensors": new, "truncated": self.truncated, "notes": self.notes});
        self.folder.log(if trainer.state.step == 0 { "start" } else { "resume" }, start)?;
        trainer.steps(control, report)
    }
}

pub(crate) struct Trainer<'a> {
    run: &'a Run,
    model: DeviceModel,
    stepper: Stepper<'a>,
    pub(crate) state: State,
    /// Parameters of the best evaluation so far.
    best: Vec<f32>,
    pub(crate) clock: Timing,
}

impl<'a> Trainer<'a> {
    /// A trainer before its first step, and the names of the tensors that got new values.
    pub(crate) fn new(run: &'a Run) -> Result<(Self, Vec<String>), TrainError> {
        let (head, threads) = (run.recipe().head, run.threads);
        let mut model = DeviceModel::new(&run.start.config, head, run.answers(), threads)?;
        let new = model.load(&run.start.config, head, &run.start.weights, Heads::New { seed: run.seed() })?;
        let trainer = Trainer {
            run,
            stepper: Stepper::new(run, &model),
            state: State { run_id: run.record.id.clone(), ..State::default() },
            // The first evaluation is always the best so far and replaces these zeros.
            best: vec![0.0; model.classifier.layout.len],
            clock: Timing { format: FORMAT, threads, ..Timing::default() },
            model,
        };
        Ok((trainer, new))
    }

    fn steps(&mut self, control: &Control<'_>, report: &mut dyn FnMut(&Progress)) -> Result<Outcome, TrainError> {
        let mut last_save = Instant::now();
        // A resumed run may evaluate before its first step, when no loss is known yet.
        let mut loss = f64::NAN;
        loop {
            // Checked before the next step rather than after the last one, so that a run stopped inside an evaluation
            // repeats it.
            if self.evaluation_is_due() {
                let Some(score) = self.evaluate_and_keep_best(control)? else { return self.stopped(control) };
                report(&self.progress(loss, Some(score)));
                // A run that is over publishes at once, which makes a resume point useless.
                if !self.is_over() && last_save.elapsed() >= control.resume_interval {
                    self.save(control)?;
                    last_save = Instant::now();
                }
            } else if self.is_over() {
                return match self.finish(control)? {
                    Some(scores) => Ok(Outcome::Done(scores)),
                    None => self.stopped(control),
                };
            } else {
                loss = self.step()?;
                self.log_step(loss)?;
                report(&self.progress(loss, None));
            }
            if control.is_stopped() {
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

    /// Whether all steps are done, or too many evaluations in a row were no better than the best.
    fn is_over(&self) -> bool {
        let recipe = self.run.recipe();
        self.state.step >= recipe.schedule.total_steps
            || recipe.selection.patience.is_some_and(|patience| self.state.since_best > patience)
    }

    /// One optimizer step; returns the mean loss in nats.
    pub(crate) fn step(&mut self) -> Result<f64, TrainError> {
        let started = Instant::now();
        let done = self.stepper.step(&mut self.model, self.state.step)?;
        self.state.step += 1;
        self.state.loss_sum += done.loss;
        self.state.loss_steps += 1;
        self.clock.tokens += done.tokens;
        self.clock.step_seconds += started.elapsed().as_secs_f64();
        self.clock.steps += 1;
        Ok(done.loss)
    }

    /// Logits of the first dev examples with the weights in the device; None if `stop` was set meanwhile.
    pub(crate) fn dev_logits(&mut self, examples: usize, stop: &AtomicBool) -> Result<Option<Logits>, TrainError> {
        let started = Instant::now();
        let logits = self.model.logits(&self.run.dev, examples, self.run.pack_shape(), stop);
        // A stopped evaluation is not counted, or the time per evaluation would come out too small.
        let Some(logits) = logits.map_err(|error| self.unusable(&error))? else { return Ok(None) };
        self.clock.evaluation_seconds += started.elapsed().as_secs_f64();
        self.clock.evaluation_tokens += logits.tokens;
        self.clock.evaluations += 1;
        Ok(Some(logits))
    }

    fn unusable(&self, error: &Unusable) -> TrainError {
        self.stepper.unusable(self.state.step, error)
    }

    /// The primary score; None if the run was stopped meanwhile.
    fn evaluate_and_keep_best(&mut self, control: &Control<'_>) -> Result<Option<f64>, TrainError> {
        let step = self.state.step;
        self.run.folder.log("evaluating", json!({"step": step}))?;
        let all = self.run.dev.gold.len();
        let examples = self.run.recipe().selection.selection_examples.map_or(all, |most| most.min(all));
        let Some(logits) = self.dev_logits(examples, control.stop)? else { return Ok(None) };
        let scores = score(self.run, &logits.predicted(), 0..examples);
        let score = scores[0].value;
        // Only a better score replaces the best: on ties the earlier weights, which were trained for fewer steps, are
        // kept.
        if self.state.best.is_none_or(|best| score > best.score) {
            self.best = self.model.parameters().map_err(|error| self.unusable(&error))?;
            (self.state.best, self.state.since_best) = (Some(Best { step, score }), 0);
        } else {
            self.state.since_best += 1;
        }
        let state = &mut self.state;
        state.evaluated = step;
        state.loss = state.loss_sum / state.loss_steps.max(1) as f64;
        (state.loss_sum, state.loss_steps) = (0.0, 0);
        let mut fields = serde_json::Map::from_iter([("step".to_owned(), json!(step))]);
        fields.extend(scores.iter().map(|s| (format!("eval_{}", s.name), json!(s.value))));
        self.run.folder.log("evaluation", fields.into())?;
        Ok(Some(score))
    }

    fn save(&mut self, control: &Control<'_>) -> Result<(), TrainError> {
        let step = self.state.step;
        // A run that resumes from a NaN would fail every time.
        self.model.parameters().map_err(|error| self.unusable(&error))?;
        // Checked right before the write, after the copy of the parameters.
        control.check_still_ours(&self.run.record.id)?;
        self.run.folder.log("saving", json!({"step": step}))?;
        resume::save(&self.run.folder, &self.state, &self.model.device, &self.best)?;
        self.run.folder.log("saved", json!({"step": step}))
    }

    /// Scores the best weights on the whole dev split and publishes them. None if the run was stopped meanwhile.
    fn finish(&mut self, control: &Control<'_>) -> Result<Option<Scores>, TrainError> {
        let run = self.run;
        // The last weights are kept in case of a stop: the resume point must hold them, not the best ones.
        let last = self.model.parameters().map_err(|error| self.unusable(&error))?;
        self.model.set_parameters(&self.best);
        let Some(logits) = self.dev_logits(run.dev.gold.len(), control.stop)? else {
            self.model.set_parameters(&last);
            return Ok(None);
        };
        self.clock.activation_bytes = self.model.device.activation_bytes();
        let finished = Finished {
            run,
            model: &self.model,
            parameters: &self.best,
            logits: &logits,
            state: &self.state,
            best_step: self.state.best.map_or(self.state.step, |best| best.step),
        };
        finished.publish(&self.clock, control).map(Some)
    }

    /// Logs the first step, the last step, and some steps in between.
    fn log_step(&self, loss: f64) -> Result<(), TrainError> {
        let (recipe, step) = (self.run.recipe(), self.state.step);
        let every = (recipe.schedule.total_steps / LOG_LINES).max(1);
        if !step.is_multiple_of(every) && step != 1 && step != recipe.schedule.total_steps {
            return Ok(());
        }
        let fields = json!({
            "step": step,
            "epoch": self.stepper.order.epochs_after(step),
            "loss": loss,
            // The recipe counts steps from 0, the log from 1.
            "learning_rate": recipe.learning_rate_at(step - 1),
            "grad_norm": self.stepper.last_norm(),
        });
        self.run.folder.log("step", fields)
    }

    fn progress(&self, loss: f64, score: Option<f64>) -> Progress {
        Progress::new(self.run, &self.clock, self.state.step, loss, score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{control, place, run};
    use serde_json::Value;
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::Ordering;

    /// The lines of a log with this event.
    fn logged(run: &Run, event: &str) -> Vec<Value> {
        let log = fs::read_to_string(run.folder.file("log.jsonl")).expect("a log");
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.filter(|line| line["event"] == event).collect()
    }

    fn train(run: &Run) -> Result<Outcome, TrainError> {
        run.train(&control(&AtomicBool::new(false)), &mut |_| {})
    }

    #[test]
    fn a_log_ends_at_the_last_epoch_however_batches_are_accumulated() {
        let place = place();
        let mut scores = Vec::new();
        for parts in [1, 2, 3, 5] {
            let values = json!({"epochs": 3, "gradient_accumulation_steps": parts});
            let run = run(place.path(), &parts.to_string(), &values);
            let Outcome::Done(done) = train(&run).expect("trains") else { panic!("stopped") };
            let steps = logged(&run, "step");
            let last = steps.last().expect("steps");
            // 26 examples in batches of 5 make 6 steps per epoch; the last step has a single example.
            assert_eq!((&last["step"], &last["epoch"]), (&json!(18), &json!(3.0)), "{parts} parts");
            scores.push(done.scores);
        }
        assert!(scores.iter().all(|of| *of == scores[0]), "{scores:?}");
    }

    fn nothing_is_published(run: &Run) {
        for name in ["scores.json", "predictions.jsonl", "model", "timing.json", "resume/state.safetensors"] {
            assert!(!run.folder.file(name).exists(), "{name} was written");
        }
    }

    /// Learning rates whose update leaves weights too large for f32 products, and weights that are not finite.
    const TOO_LARGE: [f64; 2] = [1e38, 1e39];

    #[test]
    fn a_run_that_blows_up_on_its_last_step_fails_and_publishes_nothing() {
        for learning_rate in TOO_LARGE {
            let place = place();
            let values = json!({"max_steps": 1, "evaluations": 1, "warmup_steps": 0, "learning_rate": learning_rate});
            let run = run(place.path(), "run", &values);
            let error = train(&run).expect_err("weights that mean nothing");
            let TrainError::NotFinite { step: 1, found, norms } = &error else { panic!("{error:?}") };
            assert!(found.contains("logit") && norms.len() == 1, "{error:?}");
            nothing_is_published(&run);
        }
    }

    #[test]
    fn a_run_that_blew_up_saves_no_resume_point_when_it_is_stopped() {
        let place = place();
        let values = json!({"max_steps": 9, "evaluations": 1, "warmup_steps": 0, "learning_rate": 1e39});
        let run = run(place.path(), "run", &values);
        let error = run.train(&control(&AtomicBool::new(true)), &mut |_| {}).expect_err("weights that mean nothing");
        assert!(
            matches!(&error, TrainError::NotFinite { step: 1, found, .. } if found.contains("tensor")),
            "{error:?}"
        );
        nothing_is_published(&run);
    }

    fn files(run: &Path) -> Vec<Vec<u8>> {
        let names = ["run.json", "scores.json", "predictions.jsonl", "model/model.safetensors", "model/config.json"];
        names.map(|name| fs::read(run.join(name)).expect(name)).to_vec()
    }

    #[test]
    fn a_run_stopped_at_any_step_ends_with_the_bytes_of_an_uninterrupted_one() {
        let place = place();
        let values = json!({"max_steps": 5, "evaluations": 3, "learning_rate": 1e-3});
        let whole = run(place.path(), "whole", &values);
        train(&whole).expect("trains");
        for last in 1..5 {
            let stopped = run(place.path(), &format!("stopped-{last}"), &values);
            let stop = AtomicBool::new(false);
            let outcome = stopped.train(&control(&stop), &mut |progress| {
                stop.store(progress.step == last, Ordering::Relaxed);
            });
            assert_eq!(outcome.expect("stops"), Outcome::Stopped { step: last });
            train(&stopped).expect("continues");
            assert_eq!(logged(&stopped, "resume")[0]["step"], json!(last));
            assert!(files(stopped.folder.path()) == files(whole.folder.path()), "stopped after {last}");
        }
    }

    #[test]
    fn a_run_that_was_taken_over_writes_neither_scores_nor_resume_point() {
        let place = place();
        let run = run(place.path(), "run", &json!({}));
        let stop = AtomicBool::new(false);
        let error = run.train(&Control { still_ours: &|| false, ..control(&stop) }, &mut |_| {}).expect_err("lost");
        assert!(matches!(error, TrainError::Lost { .. }), "{error:?}");
        nothing_is_published(&run);
    }

    #[test]
    fn a_run_stopped_right_after_any_evaluation_does_not_repeat_it() {
        let place = place();
        let values = json!({"max_steps": 5, "evaluations": 3, "learning_rate": 1e-3});
        let whole = run(place.path(), "whole", &values);
        train(&whole).expect("trains");
        for last in [1, 2, 3] {
            let stopped = run(place.path(), &format!("stopped-{last}"), &values);
            let (stop, mut evaluations) = (AtomicBool::new(false), 0);
            let outcome = stopped.train(&control(&stop), &mut |progress| {
                evaluations += i32::from(progress.score.is_some());
                stop.store(evaluations == last, Ordering::Relaxed);
            });
            assert!(matches!(outcome, Ok(Outcome::Stopped { .. })), "{outcome:?}");
            train(&stopped).expect("continues");
            assert_eq!(logged(&stopped, "evaluation").len(), 3, "stopped after evaluation {last}");
            assert!(files(stopped.folder.path()) == files(whole.folder.path()), "stopped after evaluation {last}");
        }
    }

    #[test]
    fn a_run_stopped_while_its_best_weights_are_scored_keeps_those_of_its_last_step() {
        let place = place();
        let run = run(place.path(), "run", &json!({}));
        let (mut trainer, _) = Trainer::new(&run).expect("a trainer");
        let last = trainer.model.parameters().expect("finite");
        assert_ne!(trainer.best, last);
        let finished = trainer.finish(&control(&AtomicBool::new(true))).expect("stops");
        assert_eq!(finished, None);
        assert!(trainer.model.parameters().expect("finite") == last);
    }
}
