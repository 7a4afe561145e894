//! Checks of the repository: dependencies between crates and files, house rules, licences and sources of dependencies.

mod circles;
mod dependencies;
mod floors;
mod licences;
mod rust_source;
mod tidy;

use std::path::{Path, PathBuf};

/// The repository's root.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("crates/stepstone lies two folders below the root").into()
}
