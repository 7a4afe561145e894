//! Bytes to records and fields: RFC 4180, cut into pieces that can be parsed side by side.

use super::error::{Located, Problem, fault};

/// The file as text without its byte-order mark.
pub(super) fn as_text(bytes: &[u8]) -> Located<&str> {
    // The magic number of Parquet; without this the answer would be "not UTF-8", which helps nobody.
    if bytes.starts_with(b"PAR1") {
        return fault(None, Problem::Parquet);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + newlines(&bytes[..error.valid_up_to()]);
        (Some(line), Box::new(Problem::NotUtf8))
    })?;
    // Excel writes a byte-order mark, which would become part of the first column's name.
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Number of line ends.
pub(super) fn newlines(bytes: &[u8]) -> u64 {
    // Blocks of at most 255 keep the inner counter in a byte, which the compiler turns into wide compares.
    bytes.chunks(255).map(|block| u64::from(block.iter().map(|&b| u8::from(b == b'\n')).sum::<u8>())).sum()
}

/// Cuts `text` into at most `parts` pieces of similar length, each a whole number of records, so that what is read does not
/// depend on the number of threads.
pub(super) fn pieces(text: &str, parts: usize) -> Vec<&str> {
    let bytes = text.as_bytes();
    // Rounded up, so that there are never more pieces than asked for.
    let step = text.len() / parts.max(1) + 1;
    let (mut pieces, mut start) = (Vec::new(), 0);
    let (quotes, mut fields) = (bytes.contains(&b'"'), Vec::new());
    while start < bytes.len() {
        let cut = (start + step).min(bytes.len());
        let mut end = if quotes { start } else { cut };
        if quotes {
            // Only the grammar of `split` tells where a record ends. Counting quotes does not: a lone one inside an unquoted
            // field opens nothing.
            while end < cut {
                end += split(&text[end..], &mut fields).0;
            }
        } else {
            while end < bytes.len() && bytes[end - 1] != b'\n' {
                end += 1;
            }
        }
        pieces.push(&text[start..end]);
        start = end;
    }
    pieces
}

/// One field of a record: its text between the quotes, and whether it contains doubled quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) text: &'a str,
    pub(super) doubled: bool,
}

impl Field<'_> {
    /// The value of the field.
    pub(super) fn value(&self) -> std::borrow::Cow<'_, str> {
        if self.doubled { self.text.replace("\"\"", "\"").into() } else { self.text.into() }
    }
}

/// How a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With a line end.
    Line,
    /// With the text.
    Text,
    /// The text ended inside a quoted field.
    OpenQuote,
}

/// Splits the record at the start of `text` into `fields`; returns its length with the line end, and how it ended.
pub(super) fn split<'a>(text: &'a str, fields: &mut Vec<Field<'a>>) -> (usize, End) {
    fields.clear();
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        let (field, end) = if bytes.get(at) == Some(&b'"') {
            match quoted(text, at) {
                Some(found) => found,
                None => return (bytes.len(), End::OpenQuote),
            }
        } else {
            plain(text, at)
        };
        fields.push(field);
        match bytes.get(end) {
            Some(b',') => at = end + 1,
            Some(b'\n') => return (end + 1, End::Line),
            // `plain` and `quoted` stop at a carriage return only before a line feed.
            Some(_) => return (end + 2, End::Line),
            None => return (end, End::Text),
        }
    }
}

fn plain(text: &str, start: usize) -> (Field<'_>, usize) {
    let bytes = text.as_bytes();
    let mut end = start;
    while end < bytes.len() && bytes[end] != b',' && bytes[end] != b'\n' {
        end += 1;
    }
    if end > start && bytes.get(end) == Some(&b'\n') && bytes[end - 1] == b'\r' {
        end -= 1;
    }
    (Field { text: &text[start..end], doubled: false }, end)
}

/// A quoted field; text between the closing quote and the separator is kept as part of it. `None` without a closing
/// quote.
fn quoted(text: &str, start: usize) -> Option<(Field<'_>, usize)> {
    let bytes = text.as_bytes();
    let (mut at, mut doubled) = (start + 1, false);
    loop {
        match bytes.get(at)? {
            b'"' if bytes.get(at + 1) == Some(&b'"') => {
                doubled = true;
                at += 2;
            }
            b'"' => break,
            _ => at += 1,
        }
    }
    // RFC 4180 allows nothing after the closing quote. If there is text, the field is kept as written, so that none is
    // lost.
    let (rest, end) = plain(text, at + 1);
    if rest.text.is_empty() {
        return Some((Field { text: &text[start + 1..at], doubled }, end));
    }
    Some((Field { text: &text[start..end], doubled: false }, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> (Vec<String>, usize, End) {
        let mut fields = Vec::new();
        let (length, end) = split(text, &mut fields);
        (fields.iter().map(|field| field.value().into_owned()).collect(), length, end)
    }

    #[test]
    fn records_split_as_rfc_4180_says() {
        let table: &[(&str, &[&str], usize, End)] = &[
            ("a,b\nc", &["a", "b"], 4, End::Line),
            ("a,b\r\nc", &["a", "b"], 5, End::Line),
            ("a,", &["a", ""], 2, End::Text),
            ("\"a,b\",c", &["a,b", "c"], 7, End::Text),
            ("\"a\"\"b\"\n", &["a\"b"], 7, End::Line),
            ("\"a\nb\",c\r\n", &["a\nb", "c"], 9, End::Line),
            ("a\"b,c", &["a\"b", "c"], 5, End::Text),
            ("\"a\"b,c", &["\"a\"b", "c"], 6, End::Text),
            ("\"a", &[], 2, End::OpenQuote),
            ("\r\n", &[""], 2, End::Line),
        ];
        for (text, want, length, end) in table {
            let want: Vec<String> = want.iter().map(ToString::to_string).collect();
            assert_eq!(values(text), (want, *length, *end), "{text:?}");
        }
    }

    #[test]
    fn pieces_are_whole_records_whatever_their_number() {
        let table: &[(&str, &[&str])] = &[
            ("a,\"1\n2\"\nb,3\n\"c\n\n\",\"\"\"\"\nd,4", &["a", "b", "c\n\n", "d"]),
            // A lone quote inside an unquoted field, before a quoted field with a line end.
            ("a\"b,1\nc,2\n\"d\ne\",3\n", &["a\"b", "c", "d\ne"]),
            ("a,1\nb,2\nc,3", &["a", "b", "c"]),
        ];
        for (text, want) in table {
            for parts in 1..40 {
                let pieces = pieces(text, parts);
                assert!(pieces.len() <= parts && pieces.concat() == *text, "{parts} parts: {pieces:?}");
                let mut first_fields = Vec::new();
                for mut piece in pieces {
                    while !piece.is_empty() {
                        let mut fields = Vec::new();
                        let (length, _) = split(piece, &mut fields);
                        first_fields.push(fields[0].value().into_owned());
                        piece = &piece[length..];
                    }
                }
                assert_eq!(first_fields, *want, "{parts} parts");
            }
        }
    }
}
