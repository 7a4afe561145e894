//! Progress on standard error: live lines on a terminal, otherwise a plain line every 30 seconds.

use crate::terminal::{errors, shown};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};
use stepstone_study::{Counts, JobProgress};
use stepstone_train::Progress;

/// Time between two plain lines, so that the log of a day stays short enough to read.
const PAUSE: Duration = Duration::from_secs(30);
/// Maximum number of runs with their own live line. With the line of the study they fit into 24 rows and leave room for
/// earlier messages.
const MOST_RUNS: usize = 12;
/// Maximum number of redraws per second: nobody reads faster, and training waits during each.
const DRAWS_PER_SECOND: u8 = 5;

/// Live lines of the running runs above one line of the study. Errors are ignored, because training matters more.
pub(crate) struct Board {
    /// None if standard error is not a terminal.
    screen: Option<MultiProgress>,
    runs: BTreeMap<String, ProgressBar>,
    whole: Option<ProgressBar>,
    /// Notes that have been said.
    notes: BTreeSet<String>,
    /// When the last plain line was written.
    last: Option<Instant>,
}

impl Board {
    /// Draws live lines if standard error is a terminal that can erase lines.
    pub(crate) fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let live = errors().is_terminal() && !dumb;
        Self::on(live.then(|| ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND)))
    }

    fn on(target: Option<ProgressDrawTarget>) -> Self {
        let screen = target.map(MultiProgress::with_draw_target);
        Self { screen, runs: BTreeMap::new(), whole: None, notes: BTreeSet::new(), last: None }
    }

    /// Writes a permanent line above the live ones.
    pub(crate) fn say(&self, line: &str) {
        say_above(self.screen.as_ref(), line);
    }

    /// Writes a note about a run. Each text appears once, because most notes hold for every run of an encoder or task.
    pub(crate) fn note(&mut self, title: &str, text: &str) {
        if self.notes.insert(text.to_owned()) {
            self.say(&format!("{title}: {text}"));
        }
    }

    /// A function that does the same from another thread.
    pub(crate) fn speaker(&self) -> impl Fn(&str) + Send + 'static {
        let screen = self.screen.clone();
        move |line| say_above(screen.as_ref(), line)
    }

    /// Shows that a run has started: with a live line, or with a permanent one if there are no live lines.
    pub(crate) fn start_run(&mut self, id: &str, title: &str) {
        match self.screen {
            Some(_) => self.show_run(id, &format!("  starting  {title}")),
            // The id names the folder of the run, for whoever reads the log later; a live line has no room for it.
            None => self.say(&format!("{title}: started ({id})")),
        }
    }

    /// Shows the progress of a run, only on a terminal.
    pub(crate) fn show_run(&mut self, id: &str, line: &str) {
        let Some(screen) = &self.screen else { return };
        if !self.runs.contains_key(id) {
            if self.runs.len() >= MOST_RUNS {
                return; // more lines than rows would scroll, and scrolled lines cannot be redrawn
            }
            let bar = blank();
            // Inserted before the line of the study, which stays last.
            let bar = match &self.whole {
                Some(whole) => screen.insert_before(whole, bar),
                None => screen.add(bar),
            };
            self.runs.insert(id.to_owned(), bar);
        }
        self.runs[id].set_message(shown(line).into_owned());
    }

    /// Removes the live line of a run.
    pub(crate) fn end_run(&mut self, id: &str) {
        if let (Some(screen), Some(bar)) = (&self.screen, self.runs.remove(id)) {
            bar.finish_and_clear(); // `remove` alone leaves the line on the screen until the next draw
            screen.remove(&bar);
        }
    }

    /// Shows the overall progress. Without a terminal, the line is written at once if `due`, and otherwise 30
    /// seconds after the last one.
    pub(crate) fn show_whole(&mut self, due: bool, line: impl FnOnce() -> String) {
        if let Some(screen) = &self.screen {
            self.whole.get_or_insert_with(|| screen.add(blank())).set_message(shown(&line()).into_owned());
        } else if due || self.last.is_none_or(|last| last.elapsed() >= PAUSE) {
            self.last = Some(Instant::now());
            self.say(&line());
        }
    }
}

impl Drop for Board {
    /// Removes every live line, so that later output starts on a clean line.
    fn drop(&mut self) {
        if let Some(screen) = &self.screen {
            let _ = screen.clear();
        }
    }
}

fn say_above(screen: Option<&MultiProgress>, line: &str) {
    // Written through the screen, a line appears above the live ones; written directly, it would break into them.
    match screen {
        Some(screen) => drop(screen.println(shown(line))),
        None => say(line),
    }
}

/// Writes a line to standard error. If standard error is closed, the line is lost and the work continues.
pub(crate) fn say(line: &str) {
    let _ = writeln!(errors(), "{line}");
}

/// An empty line that will be truncated to the width of the terminal.
fn blank() -> ProgressBar {
    // The template is a constant, so a bad one would fail the tests below.
    let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::no_length().with_style(style)
}

/// The progress line of a run, with its last score.
pub(crate) fn of_run(progress: &Progress, score: Option<f64>) -> String {
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

/// The progress line of a run of a study. The name comes last, because a narrow terminal truncates there.
pub(crate) fn of_job(title: &str, progress: &JobProgress) -> String {
    let JobProgress { step, total_steps, seconds_left } = progress;
    let width = total_steps.to_string().len();
    format!("  step {step:>width$}/{total_steps}  {:>12} left  {title}", duration(*seconds_left))
}

/// The progress line of a study.
pub(crate) fn of_study(counts: Counts, seconds_left: f64) -> String {
    let Counts { total, done, running, failed, .. } = counts;
    let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
    format!("{done} of {total} runs done, {running} running{failed}; about {} left", duration(seconds_left))
}

/// A duration for people: `3 min 20 s`.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64; // `max` also turns NaN into 0
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::InMemoryTerm;

    /// A board on a terminal of 80 columns, without a limit on redraws.
    fn terminal() -> (Board, InMemoryTerm) {
        let screen = InMemoryTerm::new(24, 80);
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        (Board::on(Some(target)), screen)
    }

    fn job(step: u64) -> JobProgress {
        JobProgress { step, total_steps: 300, seconds_left: 75.0 }
    }

    #[test]
    fn every_run_has_a_line_above_the_line_of_the_study_and_messages_stand_above_both() {
        let (mut board, screen) = terminal();
        let counts = Counts { total: 12, done: 1, running: 2, failed: 1, ..Counts::default() };
        board.show_whole(false, || of_study(counts, 200.0));
        board.show_run("a", &of_job("sst2 -> rte, restart 0", &job(7)));
        board.show_run("b", &of_job("none -> rte, restart 1", &job(120)));
        board.say("sst2, restart 0: done");
        board.note("cb, restart 0", "the encoder has no pooler");
        board.note("cb, restart 1", "the encoder has no pooler");
        insta::assert_snapshot!(screen.contents(), @r"
        sst2, restart 0: done
        cb, restart 0: the encoder has no pooler
          step   7/300    1 min 15 s left  sst2 -> rte, restart 0
          step 120/300    1 min 15 s left  none -> rte, restart 1
        1 of 12 runs done, 2 running, 1 failed; about 3 min 20 s left
        ");
        board.end_run("a");
        assert!(!screen.contents().contains("restart 0\n  step"), "{}", screen.contents());
        drop(board);
        let said = "sst2, restart 0: done\ncb, restart 0: the encoder has no pooler";
        assert_eq!(screen.contents(), said, "what stays is what was said");
    }

    #[test]
    fn long_names_are_cut_to_the_width_and_many_runs_to_the_height() {
        let (mut board, screen) = terminal();
        // More runs than the terminal has rows, and titles of 160 characters for its 80 columns.
        for run in 0..40 {
            board.show_run(&format!("{run}"), &of_job(&"long".repeat(40), &job(run)));
        }
        board.show_whole(false, || "the whole".to_owned());
        let contents = screen.contents();
        assert!(contents.lines().all(|line| line.chars().count() <= 80), "{contents}");
        assert_eq!(contents.lines().count(), MOST_RUNS + 1, "{contents}");
        assert!(contents.contains("step   0/300") && contents.ends_with("the whole"), "{contents}");
    }

    #[test]
    fn without_a_terminal_a_line_is_due_at_once_and_then_every_half_minute() {
        let mut board = Board::on(None);
        let mut asked = 0;
        for due in [false, false, true, false] {
            board.show_whole(due, || {
                asked += 1;
                "line".to_owned()
            });
        }
        assert_eq!(asked, 2);
        board.show_run("a", "on a terminal only");
        assert!(board.runs.is_empty());
    }

    #[test]
    fn durations_have_the_two_units_that_matter() {
        let table = [
            (-3.0, "0 s"),
            (59.4, "59 s"),
            (59.6, "1 min 00 s"),
            (200.0, "3 min 20 s"),
            (3600.0 * 30.0 + 61.0, "30 h 01 min"),
            (f64::NAN, "0 s"),
        ];
        for (seconds, want) in table {
            assert_eq!(duration(seconds), want, "{seconds}");
        }
    }
}
