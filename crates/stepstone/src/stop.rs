//! Signals: a write beyond the file-size limit fails instead of killing. The first Ctrl-C or SIGTERM asks for a clean stop;
//! the second ends the process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How soon a stop is answered, short enough that nobody presses Ctrl-C a second time to be heard.
const TICK: Duration = Duration::from_millis(50);

/// A flag that the first signal sets.
pub(crate) fn flag() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    // SIGTERM stops as Ctrl-C does: batch systems send it some seconds before they kill.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Registered first, so that it sees the flag of an earlier signal, not of this one.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    // With a handler in place the write itself fails, and the error names the file.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    Ok(stop)
}

/// Answers the first signal by `say`, at once: a step or an evaluation may take minutes before the work can stop.
pub(crate) fn announce(stop: &Arc<AtomicBool>, say: impl FnOnce(&str) + Send + 'static) {
    let stop = Arc::clone(stop);
    // The thread is never joined: it waits for a signal that may not come, and ends with the process.
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(TICK);
        }
        say("stopping after this step, its state saved; press Ctrl-C again to end at once");
    });
}
