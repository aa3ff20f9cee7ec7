//! What consumers subscribe to, read from their protocol metadata as far as every version of it agrees.

use std::collections::BTreeSet;

use bytes::{Buf, Bytes};

use super::{CONSUMER_PROTOCOL_TYPE, ClassicGroup, State};
use crate::group::Str;

impl ClassicGroup {
    /// Whether the group is known to consume a topic, or might be: then its offsets must not expire.
    pub fn may_consume(&self, topic: &Str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.is_consumer(),
        }
    }

    /// From when the retention of a committed offset is counted, given the time of its commit; `None` while offsets
    /// of this group do not expire.
    pub fn retention_start(&self, commit_timestamp_ms: i64) -> Option<i64> {
        if self.protocol_type.is_none() {
            return Some(commit_timestamp_ms);
        }
        match self.state {
            State::Empty if self.state_timestamp_ms >= 0 => Some(self.state_timestamp_ms),
            State::Empty => Some(commit_timestamp_ms),
            State::Stable if self.is_consumer() && self.subscribed_topics.is_some() => {
                Some(commit_timestamp_ms)
            }
            _ => None,
        }
    }

    /// Whether its members speak the consumer protocol.
    pub fn is_consumer(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    pub(super) fn compute_subscribed_topics(&self) -> Option<BTreeSet<Str>> {
        if !self.is_consumer() {
            return None;
        }
        if self.roster.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol_name.as_ref()?;
        let mut topics = BTreeSet::new();
        for member in self.roster.iter() {
            topics.extend(subscribed_topics(member.metadata(Some(protocol)))?);
        }
        Some(topics)
    }
}

/// The topics of a ConsumerProtocolSubscription of any version: an int16 version, then an array of strings.
fn subscribed_topics(mut metadata: Bytes) -> Option<Vec<Str>> {
    let version = metadata.try_get_i16().ok()?;
    let count = usize::try_from(metadata.try_get_i32().ok()?).ok()?;
    // Each topic takes at least its length prefix.
    if version < 0 || count > metadata.remaining() / 2 {
        return None;
    }
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let length = usize::try_from(metadata.try_get_i16().ok()?).ok()?;
        if length > metadata.remaining() {
            return None;
        }
        let name = metadata.split_to(length);
        topics.push(Str::from(std::str::from_utf8(&name).ok()?));
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_from_any_version_and_nonsense_is_refused() {
        let metadata =
            Bytes::from_static(b"\x00\x03\x00\x00\x00\x02\x00\x01a\x00\x02bc\xff\xff\xff\xff more");
        assert_eq!(subscribed_topics(metadata), Some(vec![Str::from("a"), Str::from("bc")]));
        assert_eq!(subscribed_topics(Bytes::from_static(b"\x00\x00\x7f\xff\xff\xff\x00")), None);
        assert_eq!(subscribed_topics(Bytes::from_static(b"\x00\x00\x00\x00\x00\x01\x00\x09a")), None);
        assert_eq!(subscribed_topics(Bytes::new()), None);
    }
}
