//! How fast a run would go, by trying it for a moment.

use crate::error::TrainError;
use crate::run::Run;
use crate::trainer::Trainer;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// What tokens cost.
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
