//! A reader of Rust files, just good enough for the house rules: it removes comments, literals and test items.

/// `text` with comments and literals blanked; lines and columns are preserved.
pub(crate) fn blanked(text: &str) -> String {
    // Bytes suffice: all marks are ASCII, and no byte of a longer UTF-8 character is.
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = end_of_hidden(text, at).unwrap_or(at);
        out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end.max(at + 1);
    }
    String::from_utf8(out).expect("whole literals and comments are blanked, so no character is cut")
}

/// Where the comment or literal that begins at `at` ends; None if neither begins there.
fn end_of_hidden(text: &str, at: usize) -> Option<usize> {
    let rest = &text.as_bytes()[at..];
    let end = |length: Option<usize>| Some(length.map_or(text.len(), |length| at + length));
    match rest {
        [b'/', b'/', ..] => end(rest.iter().position(|byte| *byte == b'\n')),
        [b'/', b'*', ..] => Some(at + block_comment(rest)),
        [b'"', ..] => end(string(rest)),
        // The escaped character may itself be a quote, so the search starts behind it.
        [b'\'', b'\\', ..] => end(rest.iter().skip(3).position(|byte| *byte == b'\'').map(|length| length + 4)),
        // A lifetime has no closing quote after its first character.
        [b'\'', ..] => {
            let mut characters = text[at + 1..].chars();
            let length = characters.next()?.len_utf8();
            (characters.next() == Some('\'')).then_some(at + length + 2)
        }
        [b'r', ..] => {
            let before = text[..at].strip_suffix('b').unwrap_or(&text[..at]);
            let inside_a_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if inside_a_word { None } else { raw_string(text, at) }
        }
        _ => None,
    }
}

/// Length of a block comment; they nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at + 1 < rest.len() {
        match &rest[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Length of a string with escapes.
fn string(rest: &[u8]) -> Option<usize> {
    let mut at = 1;
    while *rest.get(at)? != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    Some(at + 1)
}

/// End of a raw string that begins at `at`; None if an identifier begins there.
fn raw_string(text: &str, at: usize) -> Option<usize> {
    let after = &text[at + 1..];
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    let inside = after[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(inside.find(&close).map_or(text.len(), |length| at + 2 + hashes + length + close.len()))
}

/// Index of the bracket that closes the one at `open`, in blanked code.
pub(crate) fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (index, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    code.len() - 1
}

/// Blanked code without the items under `#[cfg(test)]`, which may use any file.
pub(crate) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::new();
    let mut rest = code;
    while let Some(start) = rest.find(MARK) {
        kept += &rest[..start];
        let item = &rest[start + MARK.len()..];
        // `mod tests;` ends at its semicolon, an item with a body at its closing brace.
        let first = item.find(['{', ';']).unwrap_or(item.len() - 1);
        rest = &item[closing(item, first).max(first) + 1..];
    }
    kept + rest
}

/// Words, `::` and single punctuation marks of blanked code.
pub(crate) fn tokens(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = if rest.starts_with("::") { 2 } else { word.max(first.len_utf8()) };
        found.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    found
}

#[test]
fn comments_literals_and_tests_are_blanked_and_code_is_kept() {
    let table = [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"f("a\"b", 'c', '\'', '\u{e9}', 'é')"#, "f(      ,    ,     ,         ,     )"),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
        (r##"r#"a "b"# br"c" her"##, "          b     her"),
        ("let r = 1;", "let r = 1;"),
    ];
    for (text, want) in table {
        assert_eq!(blanked(text), want, "{text}");
    }
    let code = "a #[cfg(test)] mod tests { fn f() {} } b #[cfg(test)] mod testing; c";
    assert_eq!(tokens(&without_tests(code)), ["a", "b", "c"]);
    assert_eq!(tokens("a::b_1 -> {c}"), ["a", "::", "b_1", "-", ">", "{", "c", "}"]);
}
