//! `quorum-state`: the epoch, and for whom this node voted or who leads in it.
//!
//! Kafka's JSON, `data_version` 0 for static voters and 1 for `kraft.version` 1. A vote counts only once the file is
//! on disk: it is written aside, synced and renamed.

use std::io;
use std::path::{Path, PathBuf};

use ottla_log::disk::Disk;
use ottla_wire::Uuid;
use serde_json::Value;

use crate::features::KRaftVersion;
use crate::file;

/// Its name in the metadata log's directory.
pub(crate) const FILE: &str = "quorum-state";

/// Why the file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum QuorumStateError {
    /// The file is there and cannot be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        cause: io::Error,
    },
    /// The file is not what Kafka writes.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// What a node knows of an epoch's election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Election {
    /// The epoch.
    pub epoch: i32,
    /// Who leads, if known.
    pub leader: Option<i32>,
    /// Whom this node voted for, and the directory if voters are dynamic.
    pub voted: Option<(i32, Uuid)>,
}

impl Election {
    /// Before any election.
    pub const NONE: Self = Self { epoch: 0, leader: None, voted: None };
}

/// Reads the file in the metadata log's directory; `None` if there is none.
///
/// # Errors
/// The file cannot be read or understood. An empty file counts as damaged: a vote may have been lost.
pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Election>, QuorumStateError> {
    let path = dir.join(FILE);
    match file::read_if_exists(disk, &path) {
        Ok(None) => Ok(None),
        Ok(Some(bytes)) => {
            parse(&bytes).map(Some).map_err(|reason| QuorumStateError::Damaged { path, reason })
        }
        Err(cause) => Err(QuorumStateError::Read { path, cause }),
    }
}

/// Writes the file durably: when this returns, the vote is on disk.
///
/// # Errors
/// Any I/O error; the vote must then not be acted on.
pub fn write(
    disk: &dyn Disk,
    dir: &Path,
    election: &Election,
    version: KRaftVersion,
    voters: &[i32],
) -> io::Result<()> {
    let text = render(election, version, voters);
    file::write_atomically(disk, &dir.join(FILE), ".tmp", text.as_bytes())
}

fn parse(text: &[u8]) -> Result<Election, String> {
    let json: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let version = json.get("data_version").and_then(Value::as_i64).ok_or("no data_version")?;
    if !(0..=1).contains(&version) {
        return Err(format!("data_version {version} is not known"));
    }
    let id = |name: &str| -> Result<i32, String> {
        let value = json.get(name).and_then(Value::as_i64).ok_or_else(|| format!("no {name}"))?;
        i32::try_from(value).map_err(|_| format!("{name} {value} is out of range"))
    };
    let directory = match json.get("votedDirectoryId").and_then(Value::as_str) {
        Some(text) => text.parse().map_err(|_| "votedDirectoryId is not an id".to_owned())?,
        None => Uuid::ZERO,
    };
    let some = |id: i32| (id >= 0).then_some(id);
    Ok(Election {
        epoch: id("leaderEpoch")?,
        leader: some(id("leaderId")?),
        voted: some(id("votedId")?).map(|id| (id, directory)),
    })
}

fn render(election: &Election, version: KRaftVersion, voters: &[i32]) -> String {
    let leader = election.leader.unwrap_or(-1);
    let epoch = election.epoch;
    let (voted, directory) = election.voted.unwrap_or((-1, Uuid::ZERO));
    match version {
        KRaftVersion::Static => {
            let voters: Vec<_> = voters.iter().map(|id| format!("{{\"voterId\":{id}}}")).collect();
            format!(
                "{{\"clusterId\":\"\",\"leaderId\":{leader},\"leaderEpoch\":{epoch},\"votedId\":{voted},\
                 \"appliedOffset\":0,\"currentVoters\":[{}],\"data_version\":0}}",
                voters.join(",")
            )
        }
        KRaftVersion::Dynamic => format!(
            "{{\"leaderId\":{leader},\"leaderEpoch\":{epoch},\"votedId\":{voted},\
             \"votedDirectoryId\":\"{directory}\",\"data_version\":1}}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use ottla_log::disk::StdDisk;

    use super::*;

    const STATIC: &str = "{\"clusterId\":\"\",\"leaderId\":1,\"leaderEpoch\":2,\"votedId\":-1,\"appliedOffset\":0,\
                          \"currentVoters\":[{\"voterId\":1}],\"data_version\":0}";
    const DYNAMIC: &str = "{\"leaderId\":1,\"leaderEpoch\":2,\"votedId\":-1,\
                           \"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}";

    #[test]
    fn kafkas_bytes_are_read_and_written() {
        let election = Election { epoch: 2, leader: Some(1), voted: None };
        assert_eq!(parse(STATIC.as_bytes()), Ok(election));
        assert_eq!(parse(DYNAMIC.as_bytes()), Ok(election));
        assert_eq!(render(&election, KRaftVersion::Static, &[1]), STATIC);
        assert_eq!(render(&election, KRaftVersion::Dynamic, &[1]), DYNAMIC);
    }

    #[test]
    fn a_vote_survives_the_file() {
        let dir = tempfile::tempdir().expect("temporary directory");
        assert_eq!(read(&StdDisk, dir.path()).expect("no file"), None);
        let directory = Uuid::from_bytes([9; 16]);
        let election = Election { epoch: 7, leader: None, voted: Some((3, directory)) };
        write(&StdDisk, dir.path(), &election, KRaftVersion::Dynamic, &[3]).expect("written");
        assert_eq!(read(&StdDisk, dir.path()).expect("readable"), Some(election));
    }

    #[test]
    fn damage_is_an_error_not_a_fresh_start() {
        let dir = tempfile::tempdir().expect("temporary directory");
        for text in [
            "",
            "{}",
            "{\"leaderId\":1",
            "{\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":1,\"data_version\":9}",
        ] {
            std::fs::write(dir.path().join(FILE), text).expect("written");
            assert!(matches!(read(&StdDisk, dir.path()), Err(QuorumStateError::Damaged { .. })), "{text:?}");
        }
    }
}
