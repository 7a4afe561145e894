//! Decodes the bytes of a file: compression by magic bytes, byte-order mark, strict UTF-8.

use crate::error::DataError;
use crate::foreign::{Compression, Damage, Foreign};
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Most bytes of text in a file, decompressed. The official files of the study's tasks have less than half of that.
const MOST_BYTES: u64 = 1 << 30;

/// Reads the text of a file and hashes its decompressed bytes into `hasher`.
pub(crate) fn read_file(path: &Path, hasher: &mut blake3::Hasher) -> Result<String, DataError> {
    let bytes = read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => DataError::Missing { path: path.into() },
        io::ErrorKind::IsADirectory => DataError::Folder { path: path.into() },
        _ => DataError::Read { path: path.into(), source },
    })?;
    let bytes = match Compression::of(&bytes) {
        None => bytes,
        Some(compression) => unpack(compression, &bytes, MOST_BYTES + 1).map_err(|error| DataError::Packed {
            path: path.into(),
            compression,
            damage: if ends_early(&error) { Damage::CutOff } else { Damage::Corrupt },
        })?,
    };
    if bytes.len() as u64 > MOST_BYTES {
        return Err(DataError::TooLarge { path: path.into(), most: MOST_BYTES });
    }
    // The hash covers decompressed bytes, so that compressing a file does not change the digest.
    hasher.update(&bytes);
    decode(path, bytes)
}

/// Reads a file, or one byte more than it may have. A user may name a pipe, so it need not be a regular file.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Decompresses up to `most` bytes: a few kilobytes of zeros, compressed, can stand for more than any memory holds.
fn unpack(compression: Compression, bytes: &[u8], most: u64) -> io::Result<Vec<u8>> {
    match compression {
        Compression::Gzip => {
            let mut plain = Vec::new();
            // A file may have several members (RFC 1952, section 2.2); a decoder of one would silently stop after the
            // first.
            flate2::read::MultiGzDecoder::new(bytes).take(most).read_to_end(&mut plain)?;
            Ok(plain)
        }
        Compression::Zstd => unpack_zstd(bytes, most),
    }
}

/// Decompresses all frames: `cat a.zst b.zst` is a valid file.
fn unpack_zstd(mut bytes: &[u8], most: u64) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    while !bytes.is_empty() {
        let mut frame = match StreamingDecoder::new(&mut bytes) {
            Ok(frame) => frame,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                bytes = bytes.get(length as usize..).ok_or(io::ErrorKind::UnexpectedEof)?;
                continue;
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        (&mut frame).take(most - plain.len() as u64).read_to_end(&mut plain)?;
        if plain.len() as u64 == most {
            break; // too much already, and the checksum of a frame is known only at its end
        }
        // The checksum is compared here; damaged content would otherwise pass as other rows.
        let (stated, found) = (frame.decoder.get_checksum_from_data(), frame.decoder.get_calculated_checksum());
        if stated.is_some() && stated != found {
            return Err(io::Error::other("the content does not match its checksum"));
        }
    }
    Ok(plain)
}

/// Whether the error means that the input is truncated. The decoders wrap the I/O error, so every cause is checked.
fn ends_early(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn decode(path: &Path, bytes: Vec<u8>) -> Result<String, DataError> {
    // Checked before UTF-8: that a zip archive is not valid UTF-8 at some offset would help nobody.
    if let Some(found) = Foreign::of(&bytes) {
        return Err(DataError::NotText { path: path.into(), found });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        // Text before the offset is valid, so the number of its lines is the line of the bad byte.
        let offset = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..offset].split(|byte| *byte == b'\n').count();
        DataError::NotUtf8 { path: path.into(), line, offset, byte: error.as_bytes()[offset] }
    })?;
    // A byte-order mark would become part of the first column's name.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use std::io::Write;

    #[test]
    fn no_more_is_decompressed_than_a_file_may_hold() {
        let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&vec![0; 1 << 20]).expect("writes");
        let gzip = gzip.finish().expect("writes");
        assert!(gzip.len() < 2000, "a thousandth of what it stands for: {}", gzip.len());
        let zstd = stepstone_fixtures::compressed("one_frame.zst");
        for (compression, bytes) in [(Compression::Gzip, gzip), (Compression::Zstd, zstd)] {
            let whole = unpack(compression, &bytes, u64::MAX).expect("a whole file");
            for most in [0, 1, 40, whole.len() - 1, whole.len(), whole.len() + 1] {
                let found = unpack(compression, &bytes, most as u64).expect("as far as it goes");
                assert_eq!(found, whole[..most.min(whole.len())], "{compression}, {most} bytes");
            }
        }
    }
}
