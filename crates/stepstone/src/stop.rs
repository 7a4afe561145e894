//! Signal handlers. The first Ctrl-C or SIGTERM asks for a clean stop; the second ends the process at once. A write
//! beyond the file-size limit fails instead of killing the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Time between two checks for a stop: short enough that nobody presses Ctrl-C again because nothing happened.
const TICK: Duration = Duration::from_millis(50);

/// Installs the handlers, and returns the flag that the first signal sets.
pub(crate) fn flag() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    // SIGTERM stops like Ctrl-C, because batch systems send it some seconds before they kill a job.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Handlers run in the order of registration; this one comes first, so that only an earlier signal can have set
        // the flag.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    // With a handler, the signal does not kill; the write itself fails, and its error names the file.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    Ok(stop)
}

/// Calls `say` at once on the first signal, because a step or an evaluation may take minutes before the work can stop.
pub(crate) fn announce(stop: &Arc<AtomicBool>, say: impl FnOnce(&str) + Send + 'static) {
    let stop = Arc::clone(stop);
    // The thread is never joined, because the signal may never come; the thread ends with the process.
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(TICK);
        }
        say("stopping after this step, its state saved; press Ctrl-C again to end at once");
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
