//! Files that are not plain text: compressed files, and files of other kinds.

use std::fmt;
pub use stepstone_files::Foreign;

/// Supported compression formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// Detects the format by magic bytes (RFC 1952, section 2.3.1; RFC 8878, sections 3.1.1 and 3.1.2). Files from
    /// `pzstd` begin with a skippable frame.
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

/// How to obtain the rows from a file that is not text.
pub(crate) fn remedy(found: Foreign) -> &'static str {
    match found {
        Foreign::Utf16 => "convert it: `iconv -f UTF-16 -t UTF-8 FILE`",
        Foreign::Parquet => "Parquet is not supported yet: convert it to the task's own layout",
        Foreign::Zip => "unpack it: `unzip FILE`",
        Foreign::Bzip2 => "unpack it: `bunzip2 FILE`; gzip and zstd files can stay compressed",
        Foreign::Xz => "unpack it: `unxz FILE`; gzip and zstd files can stay compressed",
        Foreign::GitLfsPointer | Foreign::Html | Foreign::Xml | Foreign::Pickle => {
            found.remedy().unwrap_or("name the file that holds the rows")
        }
    }
}
