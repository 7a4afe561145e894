//! What signals ask for. Two meanings, each with a flag of its own: save and stop, and end at once.
//!
//! A signal from a terminal or a cluster reaches every process of a study, and each of them saves and stops. Only the
//! process that the user talks to counts signals: one that it has started hears of a stop twice, by its pipe and by the
//! signal, and must not take the second for impatience.

use crate::exit;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use stepstone_study::Wish;

/// Time between two checks for a stop: short enough that nobody presses Ctrl-C again because nothing happened.
const TICK: Duration = Duration::from_millis(50);
/// Signals within this time are one wish: `timeout` and other wrappers signal their child and then its whole group.
const ONE_WISH: Duration = Duration::from_millis(200);
/// Time to end the processes that a command has started, before the command ends without them.
// Many ticks of their watchers, but no longer than an impatient user waits.
const GRACE: Duration = Duration::from_secs(2);

/// Ctrl-C and the end of a batch job. The second one ends everything.
const COUNTED: [i32; 2] = [SIGINT, SIGTERM];
/// A closed terminal, and the warnings that a cluster can be told to send. The end follows by itself, so none is
/// counted: a shell and the system both send SIGHUP.
const WARNINGS: [i32; 3] = [SIGHUP, SIGUSR1, SIGUSR2];

/// What signals have asked of this process so far.
pub(crate) struct Asked {
    /// For the work.
    pub(crate) wish: Wish,
    /// The exit code after a second signal; 0 before.
    code: Arc<AtomicU8>,
}

impl Asked {
    /// Listens in a process that another one has started.
    pub(crate) fn of_child() -> io::Result<Self> {
        let asked = Self { wish: Wish::default(), code: Arc::default() };
        for signal in COUNTED.into_iter().chain(WARNINGS) {
            // `nohup` ignores SIGHUP for a whole tree of processes, and a handler would undo that.
            if signal != SIGHUP || !ignores(SIGHUP) {
                // Set by the handler itself: a thread could be later than the end of a process that had the signal too.
                signal_hook::flag::register(signal, Arc::clone(&asked.wish.stop))?;
            }
        }
        Ok(asked)
    }

    /// Listens in a command that trains in its own process, which a second signal ends at once.
    pub(crate) fn of_command() -> io::Result<Self> {
        Self::counting(Duration::ZERO)
    }

    /// Listens in a command that has started other processes, which a second signal ends first.
    pub(crate) fn of_parent() -> io::Result<Self> {
        Self::counting(GRACE)
    }

    fn counting(grace: Duration) -> io::Result<Self> {
        let asked = Self::of_child()?;
        let signals = Signals::new(COUNTED)?;
        let (end, code) = (Arc::clone(&asked.wish.end), Arc::clone(&asked.code));
        // Never joined: the thread ends with the process.
        thread::spawn(move || end_at_second(signals, &end, &code, grace));
        Ok(asked)
    }

    /// The exit code of this process if a second signal has ended its work.
    pub(crate) fn end(&self) -> Option<u8> {
        Some(self.code.load(Ordering::Relaxed)).filter(|code| *code != 0)
    }
}

#[expect(clippy::exit, reason = "the main thread may be inside a step, or blocked in a write")]
fn end_at_second(mut signals: Signals, end: &AtomicBool, code: &AtomicU8, grace: Duration) {
    let mut first: Option<Instant> = None;
    for signal in signals.forever() {
        if first.get_or_insert_with(Instant::now).elapsed() >= ONE_WISH {
            let found = if signal == SIGINT { exit::INTERRUPTED } else { exit::TERMINATED };
            code.store(found, Ordering::Relaxed);
            end.store(true, Ordering::Relaxed);
            thread::sleep(grace);
            std::process::exit(i32::from(found));
        }
    }
}

/// Lets a write beyond the limit on file sizes fail, and its error name the file, where the signal would end the process.
pub(crate) fn fail_at_file_size_limit() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// Whether this process was started with the signal ignored. Where this cannot be known, it was not.
fn ignores(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Calls `say` at once on the first signal, because a step or an evaluation may take minutes before the work can stop.
pub(crate) fn announce(stop: &Arc<AtomicBool>, say: impl FnOnce(&str) + Send + 'static) {
    let stop = Arc::clone(stop);
    // The thread is never joined, because the signal may never come; the thread ends with the process.
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(TICK);
        }
        say("stopping after this step and saving the state; press Ctrl-C again to end at once");
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn the_first_signal_is_answered_while_the_work_goes_on() {
        let (stop, (sender, answers)) = (Arc::default(), mpsc::channel());
        announce(&stop, move |answer| sender.send(answer.to_owned()).expect("the test listens"));
        assert_eq!(answers.try_recv(), Err(mpsc::TryRecvError::Empty), "nobody has asked yet");
        stop.store(true, Ordering::Relaxed);
        assert!(
            answers
                .recv_timeout(Duration::from_secs(30))
                .expect("an answer")
                .contains("press Ctrl-C again to end at once")
        );
    }
}
