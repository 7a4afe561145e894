//! Bytes of a file to text: compression by magic bytes, byte-order mark, strict UTF-8.

use crate::error::{BadRow, DataError};
use std::io::Read;
use std::path::Path;

/// A file's text, and its decompressed bytes hashed into `hasher`.
pub(crate) fn read_file(path: &Path, hasher: &mut blake3::Hasher) -> Result<String, DataError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => DataError::Missing { path: path.into() },
        _ => DataError::Read { path: path.into(), source },
    };
    let bytes = decompress(std::fs::read(path).map_err(failed)?).map_err(failed)?;
    hasher.update(&bytes);
    decode(path, bytes)
}

fn decompress(bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    match bytes.as_slice() {
        [0x1f, 0x8b, ..] => flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain)?,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ruzstd::decoding::StreamingDecoder::new(bytes.as_slice())
            .map_err(std::io::Error::other)?
            .read_to_end(&mut plain)?,
        _ => return Ok(bytes),
    };
    Ok(plain)
}

fn decode(path: &Path, bytes: Vec<u8>) -> Result<String, DataError> {
    let content = |found: &str, expected: &str| DataError::Content {
        path: path.into(),
        found: found.into(),
        expected: expected.into(),
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(content("UTF-16 text", "UTF-8: convert it, for example with `iconv -f UTF-16 -t UTF-8`"));
    }
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(content("a git-lfs pointer", "the file it points to: run `git lfs pull` where it came from"));
    }
    if bytes.starts_with(b"<!DOCTYPE") || bytes.starts_with(b"<html") {
        return Err(content("an HTML page", "data: an error page was saved in place of the file"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..valid];
        let line = before.split(|b| *b == b'\n').count();
        let byte = error.as_bytes()[valid];
        let problem = format!("byte 0x{byte:02x} at offset {valid} is no UTF-8, expected UTF-8 text");
        DataError::BadRows { rows: vec![BadRow { path: path.into(), line, problem }] }
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text))
}
