//! Which partition of `__consumer_offsets` has a group.

/// The topic of group state.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The partition of `group` among `count`; `None` without partitions. Tools compute it too, so it must be Kafka's:
/// the absolute value of Java's string hash.
pub fn partition_of(group: &str, count: i32) -> Option<i32> {
    let hash = java_hash(group);
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive.checked_rem(count)
}

fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("hello"), 99_162_322);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        assert_eq!(java_hash("gr\u{fc}\u{1F600}"), 100_533_908);
    }

    #[test]
    fn groups_lie_where_kafka_puts_them() {
        assert_eq!(partition_of("hello", 50), Some(22));
        assert_eq!(partition_of("polygenelubricants", 50), Some(0));
        assert_eq!(partition_of("console-consumer-1", 50), Some(24));
        assert_eq!(partition_of("g", 0), None);
    }
}
