//! Progress of a run or of a study: a live line on a terminal, a plain line every 30 seconds elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};
use stepstone_study::Counts;
use stepstone_train::Progress;

/// Shows progress on standard error; what cannot be shown is not worth failing for.
pub(crate) struct ProgressLine {
    live: bool,
    last: Option<Instant>,
    score: Option<f64>,
}

impl ProgressLine {
    pub(crate) fn new() -> Self {
        Self { live: io::stderr().is_terminal(), last: None, score: None }
    }

    pub(crate) fn show(&mut self, progress: &Progress) {
        self.score = progress.score.or(self.score);
        let pause = Duration::from_millis(if self.live { 200 } else { 30_000 });
        if progress.score.is_none() && self.last.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        self.last = Some(Instant::now());
        let line = line(progress, self.score);
        let _ = if self.live { write!(io::stderr(), "\r\x1b[K{line}") } else { writeln!(io::stderr(), "{line}") };
    }

    /// Ends the live line.
    pub(crate) fn finish(&self) {
        if self.live && self.last.is_some() {
            let _ = writeln!(io::stderr());
        }
    }
}

/// Shows how far a study is, and what happens to its runs.
pub(crate) struct StudyLine {
    live: bool,
    last: Option<Instant>,
}

impl StudyLine {
    pub(crate) fn new() -> Self {
        Self { live: io::stderr().is_terminal(), last: None }
    }

    /// A line that stays.
    pub(crate) fn say(&mut self, line: &str) {
        let clear = if self.live { "\r\x1b[K" } else { "" };
        let _ = writeln!(io::stderr(), "{clear}{line}");
        if self.live {
            self.last = None;
        }
    }

    pub(crate) fn show(&mut self, counts: Counts, seconds_left: f64) {
        let pause = Duration::from_millis(if self.live { 500 } else { 30_000 });
        if self.last.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        self.last = Some(Instant::now());
        let Counts { total, done, running, failed, .. } = counts;
        let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
        let line =
            format!("{done} of {total} runs done, {running} running{failed}; about {} left", duration(seconds_left));
        let _ = if self.live { write!(io::stderr(), "\r\x1b[K{line}") } else { writeln!(io::stderr(), "{line}") };
    }

    /// Ends the live line.
    pub(crate) fn finish(&self) {
        if self.live && self.last.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(progress: &Progress, score: Option<f64>) -> String {
    let score = score.map_or(String::new(), |score| format!("  dev {score:.4}"));
    format!(
        "step {}/{}  loss {:.4}{score}  {:.0} tokens/s  {} left",
        progress.step,
        progress.total_steps,
        progress.loss,
        progress.tokens_per_second,
        duration(progress.seconds_left)
    )
}

/// Seconds for people: `3 min 20 s`.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}
