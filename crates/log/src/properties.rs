//! Java's `.properties` format, as `server.properties` and `meta.properties` are written in it.
//!
//! Lines end with LF, CR or CRLF. `#` and `!` start a comment line, a trailing odd backslash continues a line (leading
//! blanks of the next are dropped), the key ends at the first unescaped `=`, `:` or blank, and `\t \n \r \f \uXXXX`
//! are escapes. Input and output are bounded: nothing grows beyond the file, which is at most [`MAX_FILE_BYTES`] long.

use thiserror::Error;

/// Largest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

/// One `key = value` with the line (from 1) on which it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Unescaped key, never empty.
    pub key: String,
    /// Unescaped value; trailing blanks are kept, as in Java.
    pub value: String,
    /// Line number, from 1.
    pub line: usize,
}

/// Why a file is not a properties file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PropertiesError {
    /// The file is longer than [`MAX_FILE_BYTES`].
    #[error("the file is {0} bytes long, at most {MAX_FILE_BYTES} are read")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("line {0}: not UTF-8 text")]
    NotText(usize),
    /// A `\u` without four hexadecimal digits, or half of a surrogate pair.
    #[error("line {0}: \\u must be followed by four hexadecimal digits of a character")]
    BadEscape(usize),
    /// `= value` without a key.
    #[error("line {0}: no key before the separator")]
    NoKey(usize),
}

/// All properties in the order of the file, duplicates included: the last one wins.
///
/// # Errors
/// Text that is too long, not UTF-8, or has a malformed `\u` escape, with its line.
pub fn parse(input: &[u8]) -> Result<Vec<Property>, PropertiesError> {
    if input.len() > MAX_FILE_BYTES {
        return Err(PropertiesError::TooLong(input.len()));
    }
    let text = std::str::from_utf8(input).map_err(|error| {
        let before = input.get(..error.valid_up_to()).unwrap_or_default();
        PropertiesError::NotText(1 + before.iter().filter(|byte| **byte == b'\n').count())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    logical_lines(text).into_iter().map(|(line, text)| property(line, &text)).collect()
}

/// Lines with continuations joined; blank and comment lines left out.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in natural_lines(text) {
        let line = line.trim_start_matches(is_blank);
        if open.is_none() && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let (start, mut whole) = open.take().unwrap_or((number, String::new()));
        let continued = ends_with_odd_backslash(line);
        whole.push_str(if continued { line.get(..line.len() - 1).unwrap_or_default() } else { line });
        if continued {
            open = Some((start, whole));
        } else {
            lines.push((start, whole));
        }
    }
    lines.extend(open.filter(|(_, whole)| !whole.is_empty()));
    lines
}

/// Lines with their numbers; LF, CR and CRLF end a line.
fn natural_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let current = rest?;
        let Some(end) = current.find(['\n', '\r']) else {
            rest = None;
            return Some(current);
        };
        let (line, tail) = current.split_at(end);
        rest = tail.strip_prefix("\r\n").or_else(|| tail.strip_prefix(['\n', '\r']));
        Some(line)
    })
    .enumerate()
    .map(|(index, line)| (index + 1, line))
}

fn property(line: usize, text: &str) -> Result<Property, PropertiesError> {
    let end = key_end(text);
    let (raw_key, rest) = text.split_at(end);
    if raw_key.is_empty() {
        return Err(PropertiesError::NoKey(line));
    }
    let rest = rest.trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_blank);
    Ok(Property { key: unescape(line, raw_key)?, value: unescape(line, rest)?, line })
}

/// Where the first unescaped separator is.
fn key_end(text: &str) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        if !escaped && (is_blank(c) || c == '=' || c == ':') {
            return index;
        }
        escaped = !escaped && c == '\\';
    }
    text.len()
}

fn unescape(line: usize, text: &str) -> Result<String, PropertiesError> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('u') => out.push(unicode(line, &mut chars)?),
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some(other) => out.push(other),
            None => {}
        }
    }
    Ok(out)
}

/// The character after `\u`, which may be a pair of surrogates.
fn unicode(line: usize, chars: &mut std::str::Chars<'_>) -> Result<char, PropertiesError> {
    let bad = PropertiesError::BadEscape(line);
    let first = hex4(chars).ok_or(bad.clone())?;
    if let Some(c) = char::from_u32(first) {
        return Ok(c);
    }
    if !(0xd800..0xdc00).contains(&first) || chars.next() != Some('\\') || chars.next() != Some('u') {
        return Err(bad);
    }
    let second = hex4(chars).filter(|unit| (0xdc00..0xe000).contains(unit)).ok_or(bad.clone())?;
    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(bad)
}

fn hex4(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |value, _| Some(value * 16 + chars.next()?.to_digit(16)?))
}

fn ends_with_odd_backslash(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text.as_bytes()).unwrap().into_iter().map(|p| (p.key, p.value)).collect()
    }

    fn one(text: &str) -> (String, String) {
        let all = pairs(text);
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.into(), value.into())
    }

    #[test]
    fn separators_are_equals_colon_and_blank() {
        for text in ["a=b", "a:b", "a b", "a = b", "  a\t:\tb", "a   b", "a =b"] {
            assert_eq!(one(text), pair("a", "b"), "{text:?}");
        }
        assert_eq!(one("listeners=PLAINTEXT://:9092"), pair("listeners", "PLAINTEXT://:9092"));
        assert_eq!(one("a==b"), pair("a", "=b"));
        assert_eq!(one("a"), pair("a", ""));
        assert_eq!(one(r"a\=b\ c=d"), pair("a=b c", "d"));
    }

    #[test]
    fn comments_blank_lines_and_line_ends_count() {
        let found = parse(b"# c\r\n! d\n\n  # e\ra=1\r\nb=2 # not a comment\n").unwrap();
        let lines: Vec<_> = found.iter().map(|p| (p.key.as_str(), p.value.as_str(), p.line)).collect();
        assert_eq!(lines, [("a", "1", 5), ("b", "2 # not a comment", 6)]);
    }

    #[test]
    fn continuations_join_lines_without_leading_blanks() {
        let found = parse(b"a=1,\\\n   2,\\\r\n # 3\nb=x\\\\\nc=\\\n").unwrap();
        let lines: Vec<_> = found.iter().map(|p| (p.key.as_str(), p.value.as_str(), p.line)).collect();
        assert_eq!(lines, [("a", "1,2,# 3", 1), ("b", "x\\", 4), ("c", "", 5)]);
    }

    #[test]
    fn escapes_are_read_and_bad_ones_named_with_their_line() {
        assert_eq!(one(r"a=\u00e4\t\n\q\\"), pair("a", "ä\t\nq\\"));
        assert_eq!(one(r"a=\ud83d\ude00"), pair("a", "😀"));
        for bad in [r"\u12", r"\u12x4", r"\ud83d", r"\ud83d\u0041", r"\udc00"] {
            assert_eq!(
                parse(format!("ok=1\na={bad}").as_bytes()),
                Err(PropertiesError::BadEscape(2)),
                "{bad}"
            );
        }
        assert_eq!(parse(b"a=1\nb=\xff"), Err(PropertiesError::NotText(2)));
        assert_eq!(parse(b"\n=1"), Err(PropertiesError::NoKey(2)));
    }

    #[test]
    fn a_giant_file_is_refused() {
        assert_eq!(parse(&vec![b'#'; MAX_FILE_BYTES + 1]), Err(PropertiesError::TooLong(MAX_FILE_BYTES + 1)));
    }

    fn escape(text: &str, key: bool) -> String {
        let mut out = String::new();
        for (index, c) in text.chars().enumerate() {
            match c {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\\' | '=' | ':' | '#' | '!' => out.extend(['\\', c]),
                c if is_blank(c) && (key || index == 0) => out.extend(['\\', c]),
                c if (c as u32) > 0x7f => {
                    c.encode_utf16(&mut [0; 2])
                        .iter()
                        .for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
                }
                c => out.push(c),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn what_is_escaped_reads_back(key in "\\PC{1,12}|[ =:\\\\#!\n\r]{1,8}", value in "\\PC{0,20}|[ =:\\\\#!\n\r]{0,8}") {
            let text = format!("{} = {}\n", escape(&key, true), escape(&value, false));
            prop_assert_eq!(one(&text), (key, value));
        }

        #[test]
        fn any_bytes_give_an_answer_no_larger_than_they_are(input in proptest::collection::vec(
            prop_oneof![Just(b'\\'), Just(b'\n'), Just(b'\r'), Just(b'u'), Just(b'='), any::<u8>()], 0..400)) {
            if let Ok(found) = parse(&input) {
                let size: usize = found.iter().map(|p| p.key.len() + p.value.len()).sum();
                prop_assert!(size <= input.len());
            }
        }
    }
}
