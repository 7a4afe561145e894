//! What the user asks of a process and, through it, of the processes that it has started.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Two wishes, never one flag: a process that hears of a stop twice must still save.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Save and stop.
    pub stop: Arc<AtomicBool>,
    /// End at once, with every process started.
    pub end: Arc<AtomicBool>,
}

impl Wish {
    pub(crate) fn is_stop(&self) -> bool {
        // The flags protect no other data, so relaxed ordering suffices.
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn is_end(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }
}
