//! Names of the files in a partition's directory.

use crate::types::Offset;

/// Record batches.
pub(crate) const LOG: &str = "log";
/// Offset index.
pub(crate) const INDEX: &str = "index";
/// Time index.
pub(crate) const TIME_INDEX: &str = "timeindex";
/// Aborted transactions.
pub(crate) const TXN_INDEX: &str = "txnindex";
/// Producer state below an offset.
pub(crate) const SNAPSHOT: &str = "snapshot";
/// Suffix of files that wait for their removal.
pub(crate) const DELETED: &str = ".deleted";
/// Suffix of files that a cleaner was still writing.
pub(crate) const CLEANED: &str = ".cleaned";
/// Suffix of files that a cleaner had finished and was putting in place.
pub(crate) const SWAP: &str = ".swap";

/// `<20 digits>.<extension>`.
pub(crate) fn file_name(base: Offset, extension: &str) -> String {
    format!("{base:020}.{extension}")
}

/// Base offset and extension (with any suffix) of a segment's file.
pub(crate) fn parse(name: &str) -> Option<(Offset, &str)> {
    let (digits, extension) = name.split_once('.')?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((Offset(digits.parse().ok()?), extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        assert_eq!(file_name(Offset(42), LOG), "00000000000000000042.log");
        assert_eq!(parse("00000000000000000042.log.deleted"), Some((Offset(42), "log.deleted")));
        assert_eq!(parse("leader-epoch-checkpoint"), None);
        assert_eq!(parse("99999999999999999999.log"), None, "beyond i64");
    }
}
