//! Runs the real program in a folder with a tiny random encoder and a made-up data set.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

/// A folder with a tiny encoder and its vocabulary in `model`, and data like sst2, where one word decides, in `data`.
pub(crate) fn workplace() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("temporary folder");
    let data = place.path().join("data/sst2");
    fs::create_dir_all(&data).expect("folder");
    let word = |i: u8| format!("w{}", char::from(b'a' + i % 26).to_string().repeat(1 + usize::from(i) / 26));
    // The encoder has 61 rows of embeddings, 5 of them for special tokens.
    stepstone_fixtures::copy_encoder(&place.path().join("model"), &(0..56).map(word).collect::<Vec<_>>());
    for (name, rows) in [("train.tsv", 64), ("dev.tsv", 24)] {
        let row = |i: usize| format!("w{} w{}\t{}\n", ["a", "b"][i % 2], char::from(b'c' + (i % 20) as u8), i % 2);
        let text: String = (0..rows).map(row).collect();
        fs::write(data.join(name), format!("sentence\tlabel\n{text}")).expect("data");
    }
    place
}

/// The program with `arguments`, in `place`.
pub(crate) fn command(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stepstone"));
    command.current_dir(place).args(arguments);
    command
}

/// Its output.
pub(crate) fn stepstone(place: &Path, arguments: &[&str]) -> Output {
    command(place, arguments).output().expect("runs")
}

/// Arguments that learn the made-up data within a second.
pub(crate) const TRAIN: [&str; 13] = [
    "train",
    "--model",
    "model",
    "--task",
    "sst2",
    "--data",
    "data",
    "--max-length",
    "16",
    "--max-steps",
    "60",
    "--learning-rate",
    "0.005",
];

/// Trains with the arguments `TRAIN` and `more`.
pub(crate) fn train(place: &Path, more: &[&str]) -> Output {
    stepstone(place, &[&TRAIN, more].concat())
}

/// The user id of `nobody`. File permissions apply to this user, but not to root.
const NOBODY: u32 = 65_534;

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
}

/// Gives a folder and what lies in it to the user of [`bound_by_permissions`].
pub(crate) fn give_away(path: &Path) {
    if fs::metadata(path).expect("path").uid() == 0 {
        // A test that cannot switch users is skipped when it runs the program.
        let _ = std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY));
    }
    for entry in fs::read_dir(path).into_iter().flatten().filter_map(Result::ok) {
        give_away(&entry.path());
    }
}

/// Runs the program as a user to whom file permissions apply. None, with a message, if the tests cannot switch users.
pub(crate) fn bound_by_permissions(place: &Path, arguments: &[&str]) -> Option<Output> {
    // Root's own folder cannot tell: it may have been given away.
    let root = fs::metadata("/proc/self").expect("a process").uid() == 0;
    if !root {
        return Some(stepstone(place, arguments));
    }
    // Runs a copy, because the build folder may not be readable by other users.
    let program = place.join("stepstone");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_stepstone"), &program).expect("copies");
        set_mode(&program, 0o755);
    }
    let mut command = Command::new(program);
    match command.current_dir(place).args(arguments).uid(NOBODY).gid(NOBODY).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: cannot run as user {NOBODY}: {error}");
            None
        }
    }
}
