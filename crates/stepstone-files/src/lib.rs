//! Writes files that are either whole or absent, also after a power loss: each is written beside its destination, synced,
//! and renamed, and then its folder is synced. Also recognizes files that are not what their names say.

mod foreign;
mod regular;
mod steps;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

pub use foreign::Foreign;
pub use regular::{check_regular, read_at_most};

/// Writes `bytes` to `path`, which keeps its old contents until the new ones are complete.
///
/// # Errors
/// If the system refuses a write; no temporary file is left behind.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, |temporary| fs::write(temporary, bytes))
}

/// Lets `write` fill an empty temporary file in the folder of `path`, then syncs that file and renames it to `path`.
/// `write` may put another file in its place.
///
/// # Errors
/// If `write` fails or the system refuses; no temporary file is left behind.
pub fn replace(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    // Each writer has a temporary name of its own: with a shared name, one process would rename the other's file away.
    // It is created new, so that a link that lies in its place is never followed.
    let prefix: OsString = path.file_name().into_iter().chain([".".as_ref()]).collect();
    let create = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
    let mut builder = tempfile::Builder::new();
    let temporary = builder.prefix(&prefix).suffix(".tmp").make_in(folder(path), create)?;
    // The umask sets the permissions of a new file; a file that `write` puts in its place may have others.
    let permissions = temporary.as_file().metadata()?.permissions();
    write(temporary.path())?;
    let file = File::open(temporary.path())?;
    file.set_permissions(permissions)?;
    // Synced before the rename, or a crash could leave an empty file under the new name.
    file.sync_all()?;
    steps::note("sync", path);
    temporary.persist(path).map_err(|error| error.error)?;
    steps::note("rename", path);
    // Only now does the new name outlast a power loss, and only then may a later file rely on it.
    sync_folder(folder(path))
}

/// Copies a file with [`replace`]: the copy is whole and synced, or absent.
///
/// # Errors
/// As [`replace`].
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    replace(to, |temporary| fs::copy(from, temporary).map(drop))
}

/// Renames a folder whose files are synced, and makes the new name outlast a power loss.
///
/// # Errors
/// If the system refuses.
pub fn rename_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    steps::note("rename", to);
    sync_folder(folder(to))
}

/// Removes a file, so that it stays removed after a power loss. A file that does not exist is removed already.
///
/// # Errors
/// If the system refuses.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder(folder(path)),
        // A path below a file does not exist either.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Syncs the names in a folder.
fn sync_folder(folder: &Path) -> io::Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    steps::note("sync", folder);
    match synced {
        // Some network disks cannot sync a folder, and one without read permission cannot be opened: its names are as
        // safe as that place allows.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::PermissionDenied) => Ok(()),
        other => other,
    }
}

/// The folder that holds `path`. The temporary file is made there, because a rename works only within one file system.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names in a folder, sorted.
    fn names(folder: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(folder).expect("folder");
        let mut names: Vec<OsString> = entries.map(|entry| entry.expect("entry").file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let place = tempfile::tempdir().expect("folder");
        let path = place.path().join("scores.json");
        for text in ["first", "the second, which is longer", ""] {
            write_atomically(&path, text.as_bytes()).expect("writes");
            assert_eq!(fs::read_to_string(&path).expect("reads"), text);
            assert_eq!(names(place.path()), ["scores.json"]);
        }
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_nothing_else() {
        let place = tempfile::tempdir().expect("folder");
        let path = place.path().join("scores.json");
        write_atomically(&path, b"old").expect("writes");
        let full = |temporary: &Path| {
            fs::write(temporary, b"ne")?;
            Err(io::Error::from(ErrorKind::StorageFull))
        };
        assert_eq!(replace(&path, full).expect_err("fails").kind(), ErrorKind::StorageFull);
        assert_eq!(fs::read_to_string(&path).expect("reads"), "old");
        assert_eq!(names(place.path()), ["scores.json"]);
    }

    #[test]
    fn a_link_is_never_written_through() {
        let place = tempfile::tempdir().expect("folder");
        let other = place.path().join("other");
        fs::write(&other, b"mine").expect("writes");
        for name in ["scores.json", "scores.json.tmp"] {
            std::os::unix::fs::symlink(&other, place.path().join(name)).expect("links");
        }
        write_atomically(&place.path().join("scores.json"), b"text").expect("writes");
        assert_eq!(fs::read_to_string(&other).expect("reads"), "mine");
        assert!(
            fs::symlink_metadata(place.path().join("scores.json")).expect("a file").is_file(),
            "the link is replaced"
        );
    }

    /// After a cut between any two steps, the new name stands for the whole file or does not exist.
    #[test]
    fn a_file_is_synced_before_its_name_and_its_name_before_anything_later() {
        let place = tempfile::tempdir().expect("folder");
        let (folder, vocab) = (place.path().join("model.tmp"), place.path().join("model.tmp/vocab.txt"));
        fs::create_dir(&folder).expect("folder");
        fs::write(place.path().join("vocab.txt"), b"a").expect("writes");
        steps::taken(); // those of other tests
        copy(&place.path().join("vocab.txt"), &vocab).expect("copies");
        rename_folder(&folder, &place.path().join("model")).expect("renames");
        write_atomically(&place.path().join("scores.json"), b"1").expect("writes");
        remove(&place.path().join("scores.json")).expect("removes");
        remove(&place.path().join("scores.json")).expect("is gone already");
        let found: Vec<String> = steps::taken()
            .iter()
            .map(|(step, path)| {
                let path = path.strip_prefix(place.path()).expect("inside");
                format!("{step} {}", path.display())
            })
            .collect();
        let want = [
            "sync model.tmp/vocab.txt",
            "rename model.tmp/vocab.txt",
            "sync model.tmp",
            "rename model",
            "sync ",
            "sync scores.json",
            "rename scores.json",
            "sync ",
            "sync ",
        ];
        assert_eq!(found, want);
    }

    #[test]
    fn an_error_is_the_systems_own() {
        let place = tempfile::tempdir().expect("folder");
        let table = [
            (place.path().join("absent").join("scores.json"), ErrorKind::NotFound),
            (place.path().to_path_buf(), ErrorKind::IsADirectory),
        ];
        for (path, want) in table {
            let error = write_atomically(&path, b"text").expect_err("fails");
            assert_eq!(error.kind(), want, "{}", path.display());
            // The message must not show the temporary name, which the user did not choose.
            assert!(error.raw_os_error().is_some(), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_a_plain_new_file_whatever_the_writer_leaves() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().expect("folder");
        let mode = |name: &str| fs::metadata(place.path().join(name)).expect("file").permissions().mode();
        fs::write(place.path().join("plain"), b"text").expect("writes");
        write_atomically(&place.path().join("whole"), b"text").expect("writes");
        let owners_alone = |temporary: &Path| {
            fs::remove_file(temporary)?;
            fs::write(temporary, b"text")?;
            fs::set_permissions(temporary, fs::Permissions::from_mode(0o600))
        };
        replace(&place.path().join("put_there"), owners_alone).expect("writes");
        assert_eq!(mode("whole"), mode("plain"));
        assert_eq!(mode("put_there"), mode("plain"));
    }

    #[test]
    fn writers_of_one_path_do_not_disturb_each_other() {
        let place = tempfile::tempdir().expect("folder");
        let path = place.path().join("run.json");
        let texts: Vec<String> = (0..4).map(|writer| writer.to_string().repeat(10_000)).collect();
        std::thread::scope(|scope| {
            for text in &texts {
                let write = || (0..50).try_for_each(|_| write_atomically(&path, text.as_bytes()));
                scope.spawn(move || write().expect("writes"));
            }
        });
        let text = fs::read_to_string(&path).expect("reads");
        assert!(texts.contains(&text), "a mixture: {text:.20}");
        assert_eq!(names(place.path()), ["run.json"]);
    }

    #[test]
    fn a_path_without_a_folder_lies_in_the_current_one() {
        let table = [("a.csv", "."), ("./a.csv", "."), ("out/a.csv", "out"), ("/a.csv", "/")];
        for (path, want) in table {
            assert_eq!(folder(Path::new(path)), Path::new(want), "{path}");
        }
    }
}
