//! Metadata records: the values in the metadata log and its snapshots.
//!
//! A value is framed as `unsigned varint frame version (1), unsigned varint type, unsigned varint version, fields`.
//! A record of an unknown type is kept as it is and written again into snapshots, never dropped.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ottla_wire::records::metadata as wire;
use ottla_wire::{Decoder, Message, Record as _, encode_to_bytes};

use crate::metadata_version::MetadataVersion;

/// The only frame version there is.
const FRAME_VERSION: u32 = 1;

/// Why a value is not a metadata record, or a record cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The frame's version is not 1.
    #[error("metadata record with frame version {0}")]
    FrameVersion(u32),
    /// The value ends inside the frame, or a number in it is out of range.
    #[error("metadata record with a malformed frame")]
    Frame,
    /// A known record in a version from the future.
    #[error("{name} version {version} is not known")]
    Version {
        /// Type of the record.
        name: &'static str,
        /// Version in the frame.
        version: i16,
    },
    /// The fields cannot be read.
    #[error("{name} version {version}: {reason}")]
    Decode {
        /// Type of the record.
        name: &'static str,
        /// Version in the frame.
        version: i16,
        /// What is wrong.
        reason: String,
    },
    /// Bytes follow the fields.
    #[error("{name} version {version} is followed by {bytes} bytes")]
    Trailing {
        /// Type of the record.
        name: &'static str,
        /// Version in the frame.
        version: i16,
        /// Bytes left over.
        bytes: usize,
    },
    /// The record cannot be expressed in the version.
    #[error("{name} cannot be written as version {version}: {reason}")]
    Encode {
        /// Type of the record.
        name: &'static str,
        /// Version asked for.
        version: i16,
        /// What is wrong.
        reason: String,
    },
}

/// A record of a type that this broker does not know, kept byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRecord {
    /// Type in the frame.
    pub api_key: i16,
    /// Version in the frame.
    pub version: i16,
    /// Fields, not interpreted.
    pub fields: Bytes,
}

macro_rules! metadata_records {
    ($($(#[$doc:meta])* $variant:ident($record:ident),)*) => {
        /// Any metadata record of Kafka 4.3.
        #[derive(Clone, Debug, PartialEq)]
        pub enum MetadataRecord {
            $($(#[$doc])* $variant(wire::$record),)*
            /// A type from the future.
            Unknown(UnknownRecord),
        }

        $(impl From<wire::$record> for MetadataRecord {
            fn from(record: wire::$record) -> Self {
                Self::$variant(record)
            }
        })*

        impl MetadataRecord {
            /// The type's name as in Kafka's schema.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => <wire::$record as Message>::NAME,)*
                    Self::Unknown(_) => "unknown record",
                }
            }

            /// The type's number.
            pub fn api_key(&self) -> i16 {
                match self {
                    $(Self::$variant(_) => <wire::$record as ottla_wire::Record>::API_KEY,)*
                    Self::Unknown(record) => record.api_key,
                }
            }

            fn decode_fields(api_key: i16, version: i16, fields: Bytes) -> Result<Self, RecordError> {
                match api_key {
                    $(wire::$record::API_KEY => decode_known::<wire::$record>(version, fields).map(Self::$variant),)*
                    _ => Ok(Self::Unknown(UnknownRecord { api_key, version, fields })),
                }
            }

            fn encode_fields(&self, version: i16) -> Result<Bytes, RecordError> {
                match self {
                    $(Self::$variant(record) => encode_known(record, version),)*
                    Self::Unknown(record) => Ok(record.fields.clone()),
                }
            }
        }
    };
}

metadata_records! {
    /// A transaction is given up.
    AbortTransaction(AbortTransactionRecord),
    /// An access control entry.
    AccessControlEntry(AccessControlEntryRecord),
    /// A transaction begins: what follows counts at its end.
    BeginTransaction(BeginTransactionRecord),
    /// Fencing, shutdown or directories of a broker change.
    BrokerRegistrationChange(BrokerRegistrationChangeRecord),
    /// Eligible leader replicas are cleared.
    ClearElr(ClearElrRecord),
    /// A client quota is set or removed.
    ClientQuota(ClientQuotaRecord),
    /// A config is set or removed.
    Config(ConfigRecord),
    /// A delegation token.
    DelegationToken(DelegationTokenRecord),
    /// A transaction ends.
    EndTransaction(EndTransactionRecord),
    /// A feature is finalised.
    FeatureLevel(FeatureLevelRecord),
    /// A broker is fenced.
    FenceBroker(FenceBrokerRecord),
    /// Nothing.
    NoOp(NoOpRecord),
    /// A partition changes.
    PartitionChange(PartitionChangeRecord),
    /// A partition.
    Partition(PartitionRecord),
    /// A block of producer ids is handed out.
    ProducerIds(ProducerIdsRecord),
    /// A broker registers.
    RegisterBroker(RegisterBrokerRecord),
    /// A controller registers.
    RegisterController(RegisterControllerRecord),
    /// An access control entry is removed.
    RemoveAccessControlEntry(RemoveAccessControlEntryRecord),
    /// A delegation token is removed.
    RemoveDelegationToken(RemoveDelegationTokenRecord),
    /// A topic is deleted.
    RemoveTopic(RemoveTopicRecord),
    /// A SCRAM credential is removed.
    RemoveUserScramCredential(RemoveUserScramCredentialRecord),
    /// A topic.
    Topic(TopicRecord),
    /// A broker is unfenced.
    UnfenceBroker(UnfenceBrokerRecord),
    /// A broker's registration is removed.
    UnregisterBroker(UnregisterBrokerRecord),
    /// A SCRAM credential.
    UserScramCredential(UserScramCredentialRecord),
    /// State of a migration from ZooKeeper.
    ZkMigrationState(ZkMigrationStateRecord),
}

impl MetadataRecord {
    /// The version that Kafka writes at this level of `metadata.version`.
    pub fn version_at(&self, level: MetadataVersion) -> i16 {
        match self {
            Self::RegisterBroker(_) => level.register_broker_record_version(),
            Self::Partition(_) => level.partition_record_version(),
            Self::PartitionChange(_) => level.partition_change_record_version(),
            Self::BrokerRegistrationChange(change) => registration_change_version(change),
            Self::Unknown(record) => record.version,
            _ => 0,
        }
    }

    /// Pairs the record with the version for this level.
    pub fn at(self, level: MetadataVersion) -> VersionedRecord {
        VersionedRecord { version: self.version_at(level), record: self }
    }

    /// Reads a framed value.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn decode(value: Bytes) -> Result<Self, RecordError> {
        VersionedRecord::decode(value).map(|versioned| versioned.record)
    }

    /// Writes a framed value at the level's version.
    ///
    /// # Errors
    /// The record holds what the level cannot express.
    pub fn encode(&self, level: MetadataVersion) -> Result<Bytes, RecordError> {
        encode_framed(self, self.version_at(level))
    }
}

/// A record and the version that it has, or will have, in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionedRecord {
    /// The record.
    pub record: MetadataRecord,
    /// Version of its fields.
    pub version: i16,
}

impl VersionedRecord {
    /// Reads a framed value.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn decode(mut value: Bytes) -> Result<Self, RecordError> {
        let frame_version = read_uvarint(&mut value)?;
        if frame_version != FRAME_VERSION {
            return Err(RecordError::FrameVersion(frame_version));
        }
        let api_key = read_i16(&mut value)?;
        let version = read_i16(&mut value)?;
        let record = MetadataRecord::decode_fields(api_key, version, value)?;
        Ok(Self { record, version })
    }

    /// Writes a framed value.
    ///
    /// # Errors
    /// The record holds what the version cannot express.
    pub fn encode(&self) -> Result<Bytes, RecordError> {
        encode_framed(&self.record, self.version)
    }
}

/// Kafka writes the lowest version that can express a registration change, whatever the level.
fn registration_change_version(change: &wire::BrokerRegistrationChangeRecord) -> i16 {
    if change.cordoned_log_dirs.is_some() {
        3
    } else if !change.log_dirs.is_empty() {
        2
    } else if change.in_controlled_shutdown != 0 {
        1
    } else {
        0
    }
}

fn decode_known<M: Message>(version: i16, fields: Bytes) -> Result<M, RecordError> {
    if !M::VERSIONS.contains(&version) {
        return Err(RecordError::Version { name: M::NAME, version });
    }
    let mut decoder = Decoder::new(fields);
    let record = M::decode(&mut decoder, version).map_err(|error| RecordError::Decode {
        name: M::NAME,
        version,
        reason: error.to_string(),
    })?;
    match decoder.remaining() {
        0 => Ok(record),
        bytes => Err(RecordError::Trailing { name: M::NAME, version, bytes }),
    }
}

fn encode_known<M: Message>(record: &M, version: i16) -> Result<Bytes, RecordError> {
    let failed = |reason: String| RecordError::Encode { name: M::NAME, version, reason };
    if !M::VERSIONS.contains(&version) {
        return Err(failed("no such version".to_owned()));
    }
    encode_to_bytes(record, version).map_err(|error| failed(error.to_string()))
}

fn encode_framed(record: &MetadataRecord, version: i16) -> Result<Bytes, RecordError> {
    let fields = record.encode_fields(version)?;
    let mut value = BytesMut::with_capacity(fields.len() + 6);
    write_uvarint(&mut value, FRAME_VERSION);
    write_uvarint(&mut value, u32::from(record.api_key().cast_unsigned()));
    write_uvarint(&mut value, u32::from(version.cast_unsigned()));
    value.put(fields);
    Ok(value.freeze())
}

fn read_i16(input: &mut Bytes) -> Result<i16, RecordError> {
    i16::try_from(read_uvarint(input)?).map_err(|_| RecordError::Frame)
}

fn read_uvarint(input: &mut Bytes) -> Result<u32, RecordError> {
    let mut value: u32 = 0;
    for shift in (0..35).step_by(7) {
        if !input.has_remaining() {
            return Err(RecordError::Frame);
        }
        let byte = input.get_u8();
        let bits = u32::from(byte & 0x7f);
        if shift == 28 && bits > 0x0f {
            return Err(RecordError::Frame);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(RecordError::Frame)
}

fn write_uvarint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8((value & 0x7f) as u8);
}
