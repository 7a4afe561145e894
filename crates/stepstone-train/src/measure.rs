//! Measures how fast a run would be by training it briefly.

use crate::error::TrainError;
use crate::run::Run;
use crate::trainer::Trainer;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Cost per token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Seconds per token of an optimizer step.
    pub training: f64,
    /// Seconds per token of an evaluation.
    pub evaluation: f64,
}

impl Run {
    /// Trains for about `time` without writing anything, then scores the dev split once.
    ///
    /// # Errors
    /// If the weights are corrupt or the loss is not finite.
    pub fn measure(&self, time: Duration) -> Result<Rates, TrainError> {
        let (mut trainer, _) = Trainer::new(self)?;
        trainer.step()?; // the first touches fresh memory
        let warm = trainer.clock.clone();
        let started = Instant::now();
        while started.elapsed() < time {
            if trainer.state.step == self.recipe().schedule.total_steps {
                trainer.state.step = 0; // a short run: its schedule ends before the time does
            }
            trainer.step()?;
        }
        trainer.dev_logits(self.dev.gold.len(), &AtomicBool::new(false))?;
        let clock = &trainer.clock;
        Ok(Rates {
            training: (clock.step_seconds - warm.step_seconds) / (clock.tokens - warm.tokens).max(1) as f64,
            evaluation: clock.evaluation_seconds / clock.evaluation_tokens.max(1) as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{place, run};
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn a_measured_run_has_rates_and_leaves_no_trace_however_short_it_is() {
        let place = place();
        for steps in [1, 2, 50] {
            let run = run(place.path(), "run", &json!({"max_steps": steps, "evaluations": 1}));
            let rates = run.measure(Duration::from_millis(30)).expect("measures");
            for rate in [rates.training, rates.evaluation] {
                assert!(rate.is_finite() && rate > 0.0, "{steps} steps: {rates:?}");
            }
            assert!(!run.folder.path().exists(), "{steps} steps");
        }
    }
}
