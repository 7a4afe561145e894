//! Reads files whose name somebody else may have given to something that is not a file, or is far too large.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Refuses everything that is not a regular file. Opening a FIFO without a writer would wait for ever, and a device such
/// as `/dev/zero` never ends. Links are followed.
///
/// # Errors
/// `IsADirectory` for a folder, `InvalidInput` for a FIFO, a socket or a device, otherwise what the system says.
pub fn check_regular(path: &Path) -> io::Result<()> {
    let found = fs::metadata(path)?;
    if found.is_dir() {
        Err(ErrorKind::IsADirectory.into())
    } else if found.is_file() {
        Ok(())
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file, but a pipe, a socket or a device"))
    }
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
/// As [`check_regular`]; `FileTooLarge` if the file has more bytes.
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    check_regular(path)?;
    let mut bytes = Vec::new();
    // The size is not asked for first, because a file can grow while it is read.
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let problem = format!("more than {most} bytes, expected at most that");
        return Err(io::Error::new(ErrorKind::FileTooLarge, problem));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit_and_nothing_else_is_read() {
        let place = tempfile::tempdir().expect("folder");
        let path = place.path().join("config.json");
        assert_eq!(read_at_most(&path, 3).expect_err("missing").kind(), ErrorKind::NotFound);
        fs::write(&path, "abc").expect("file");
        assert_eq!(read_at_most(&path, 3).expect("fits"), b"abc");
        assert_eq!(read_at_most(&path, 2).expect_err("one byte more").kind(), ErrorKind::FileTooLarge);
        assert_eq!(read_at_most(place.path(), 2).expect_err("a folder").kind(), ErrorKind::IsADirectory);
        let fifo = place.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs");
        assert!(made.success());
        for endless in [fifo.as_path(), Path::new("/dev/zero")] {
            assert_eq!(read_at_most(endless, 9).expect_err("endless").kind(), ErrorKind::InvalidInput, "{endless:?}");
        }
    }
}
