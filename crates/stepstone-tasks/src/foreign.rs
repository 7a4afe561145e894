//! What a file is by its first bytes, whatever its name says.

use std::fmt;

/// Compressions that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// By magic bytes (RFC 1952, section 2.3.1; RFC 8878, sections 3.1.1 and 3.1.2: `pzstd` skips a frame first).
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// What is wrong with compressed data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Damage {
    CutOff,
    Corrupt,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CutOff => "ends too early",
            Self::Corrupt => "is damaged",
        })
    }
}

/// A kind of file that holds no rows of text, though it may bear the name of one that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Foreign {
    Utf16,
    GitLfsPointer,
    Html,
    Xml,
    Parquet,
    Zip,
    Bzip2,
    Xz,
}

impl Foreign {
    /// By magic bytes; pages also by their first tag, in either case and after white space.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        const MAGIC: [(&[u8], Foreign); 8] = [
            (&[0xff, 0xfe], Foreign::Utf16),
            (&[0xfe, 0xff], Foreign::Utf16),
            (b"version https://git-lfs", Foreign::GitLfsPointer),
            (b"PAR1", Foreign::Parquet),
            (b"PK\x03\x04", Foreign::Zip),
            (b"PK\x05\x06", Foreign::Zip),
            (b"BZh", Foreign::Bzip2),
            (b"\xfd7zXZ\0", Foreign::Xz),
        ];
        const TAGS: [(&[u8], Foreign); 3] =
            [(b"<!doctype html", Foreign::Html), (b"<html", Foreign::Html), (b"<?xml", Foreign::Xml)];
        if let Some((_, found)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
            return Some(*found);
        }
        // Without its byte-order mark, UTF-16 shows as every other byte being zero.
        if let [0, 1..=255, 0, 1..=255, ..] | [1..=255, 0, 1..=255, 0, ..] = bytes {
            return Some(Self::Utf16);
        }
        let page = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        let begins = |tag: &[u8]| page.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
        TAGS.iter().find(|(tag, _)| begins(tag)).map(|(_, found)| *found)
    }

    /// How to get at the rows.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Utf16 => "convert it: `iconv -f UTF-16 -t UTF-8 FILE`",
            Self::GitLfsPointer => "run `git lfs pull` in the repository it came from, then copy the file again",
            Self::Html | Self::Xml => "an error page was saved in place of the file: download it again",
            Self::Parquet => "Parquet is not read yet: convert it to the task's own layout",
            Self::Zip => "unpack it: `unzip FILE`",
            Self::Bzip2 => "unpack it: `bunzip2 FILE`; gzip and zstd are read as they are",
            Self::Xz => "unpack it: `unxz FILE`; gzip and zstd are read as they are",
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf16 => "UTF-16 text",
            Self::GitLfsPointer => "a git-lfs pointer",
            Self::Html => "an HTML page",
            Self::Xml => "an XML page",
            Self::Parquet => "a Parquet file",
            Self::Zip => "a zip archive",
            Self::Bzip2 => "bzip2 data",
            Self::Xz => "xz data",
        })
    }
}
