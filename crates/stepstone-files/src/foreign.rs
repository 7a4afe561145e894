//! Recognizes files by their first bytes, whatever their names say.

use std::fmt;

/// A kind of file that is found where rows or weights were expected.
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
    Pickle,
}

impl Foreign {
    /// Recognizes a file by its magic bytes, and a page by its first tag, ignoring case and leading white space.
    pub fn of(bytes: &[u8]) -> Option<Self> {
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
        // A pickle of protocol 2 or later begins with the opcode PROTO and its version (Python's pickletools.py).
        if let [0x80, 2..=5, ..] = bytes {
            return Some(Self::Pickle);
        }
        // ASCII text in UTF-16 without a byte-order mark has a zero in every other byte.
        if let [0, 1..=255, 0, 1..=255, ..] | [1..=255, 0, 1..=255, 0, ..] = bytes {
            return Some(Self::Utf16);
        }
        // A page may begin with a byte-order mark.
        let page = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        let begins = |tag: &[u8]| page.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
        TAGS.iter().find(|(tag, _)| begins(tag)).map(|(_, found)| *found)
    }

    /// What to do about a file that was saved in place of the right one.
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::GitLfsPointer => Some("run `git lfs pull` in the repository it came from, then copy the file again"),
            Self::Html | Self::Xml => Some("an error page was saved in place of the file: download it again"),
            Self::Utf16 | Self::Parquet | Self::Zip | Self::Bzip2 | Self::Xz | Self::Pickle => None,
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
            Self::Pickle => "a Python pickle",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_recognized_by_their_first_bytes() {
        let table: [(&[u8], Option<Foreign>); 16] = [
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", Some(Foreign::GitLfsPointer)),
            (b"<!DOCTYPE html><html>", Some(Foreign::Html)),
            (b"\xef\xbb\xbf\n  <HTML>", Some(Foreign::Html)),
            (b"<?xml version=\"1.0\"?>", Some(Foreign::Xml)),
            (b"PK\x03\x04archive/data.pkl", Some(Foreign::Zip)),
            (b"\x80\x02}q\x00", Some(Foreign::Pickle)),
            (b"PAR1", Some(Foreign::Parquet)),
            (b"BZh91AY", Some(Foreign::Bzip2)),
            (b"\xfd7zXZ\0", Some(Foreign::Xz)),
            (b"\xff\xfea\0", Some(Foreign::Utf16)),
            (b"a\0b\0", Some(Foreign::Utf16)),
            (b"", None),
            (b"P", None),
            (b"{\"model_type\": \"bert\"}", None),
            (b"<p>a row of text</p>", None),
            (b"\x18\0\0\0\0\0\0\0{\"x\":", None), // safetensors
        ];
        for (bytes, want) in table {
            assert_eq!(Foreign::of(bytes), want, "{}", bytes.escape_ascii());
        }
    }
}
