//! The order of syncs and renames, which tests compare. Outside tests nothing is recorded.

use std::path::Path;

/// A step, such as `rename`, and the path that it concerned.
#[cfg(test)]
type Step = (&'static str, std::path::PathBuf);

#[cfg(test)]
thread_local! {
    static TAKEN: std::cell::RefCell<Vec<Step>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Records a step of this thread, which has been done.
#[cfg(test)]
pub(crate) fn note(step: &'static str, path: &Path) {
    TAKEN.with_borrow_mut(|taken| taken.push((step, path.into())));
}

#[cfg(not(test))]
pub(crate) fn note(_: &'static str, _: &Path) {}

/// The steps of this thread since the last call.
#[cfg(test)]
pub(crate) fn taken() -> Vec<Step> {
    TAKEN.take()
}
