//! The committed goldens.

use std::fmt;
use std::ops::RangeInclusive;

use bytes::Bytes;
use ottla_wire::registry::Schema;

/// A message as Kafka wrote it.
pub struct Golden {
    pub schema: &'static Schema,
    pub versions: RangeInclusive<i16>,
    pub variant: &'static str,
    pub bytes: Bytes,
}

impl fmt::Debug for Golden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {} {:02x?}", self.schema.name, self.versions, self.variant, self.bytes.as_ref())
    }
}

/// All goldens of messages.
pub fn goldens() -> impl Iterator<Item = Golden> {
    let files = [
        include_str!("../../golden/client.txt"),
        include_str!("../../golden/metadata.txt"),
        include_str!("../../golden/group.txt"),
        include_str!("../../golden/transaction.txt"),
        include_str!("../../golden/share.txt"),
        include_str!("../../golden/storage.txt"),
        include_str!("../../golden/raft.txt"),
    ];
    files.into_iter().flat_map(str::lines).map(golden)
}

fn golden(line: &'static str) -> Golden {
    let fields: Vec<&str> = line.split(' ').collect();
    let [name, versions, variant, hex] = fields[..] else { panic!("not a golden: {line}") };
    let (from, to) = versions.split_once('-').unwrap();
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    Golden {
        schema: Schema::by_name(name).unwrap_or_else(|| panic!("no schema {name}")),
        versions: from.parse().unwrap()..=to.parse().unwrap(),
        variant,
        bytes: (0..hex.len()).step_by(2).map(byte).collect(),
    }
}
