//! Doing what the state machine says, in its order.

use std::collections::{BTreeSet, VecDeque};
use std::io;

use ottla_log::{LeaderEpoch, Log, TimestampMs};

use super::{Inbound, Now, Outbound, Quorum, QuorumError};
use crate::messages::{decode_request, decode_response, encode_reply, encode_request};
use crate::quorum_state::{self, Election};
use crate::raft::message::Reply;
use crate::raft::{Command, Event, LogView};
use crate::snapshot::SnapshotId;
use crate::testing::{Rule, keeps};

impl Quorum {
    /// Time has passed.
    ///
    /// # Errors
    /// The log failed, or what must not happen has happened: the node must stop.
    pub fn tick(&mut self, now: Now) -> Result<(), QuorumError> {
        self.drive(Event::Tick, now)
    }

    /// Something came from another node, or from an administrator.
    ///
    /// # Errors
    /// As [`Quorum::tick`].
    pub fn receive(&mut self, inbound: Inbound, now: Now) -> Result<(), QuorumError> {
        self.check_usable()?;
        let event = match inbound {
            Inbound::Request { token, request } => match decode_request(request, &self.config.cluster_id) {
                Ok(request) => Event::Request { token, request },
                Err(response) => {
                    self.outbound.push(Outbound::Response { token, response: *response });
                    return Ok(());
                }
            },
            Inbound::Response { from, correlation, response } => {
                Event::Response { from, correlation, response: decode_response(response) }
            }
            Inbound::Failed { from, correlation, failure } => Event::Failed { from, correlation, failure },
        };
        self.drive(event, now)
    }

    /// The node is going to stop: it gives the leadership up, tells the others, and stands for election no more. What it
    /// wants to say comes out as ever; it should be sent before the process ends.
    ///
    /// # Errors
    /// As [`Quorum::tick`].
    pub fn resign(&mut self, now: Now) -> Result<(), QuorumError> {
        self.drive(Event::Resign, now)
    }

    /// Does what the state machine asks for until it asks for nothing more.
    pub(super) fn drive(&mut self, event: Event, now: Now) -> Result<(), QuorumError> {
        self.check_usable()?;
        self.now = now;
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let view = View { log: &self.log, snapshots: &self.snapshots };
            for command in self.raft.handle(event, now.monotonic, &view) {
                events.extend(self.execute(command, now.wall)?);
            }
        }
        if self.raft.is_active_leader() && self.active_epoch != self.raft.epoch() {
            self.active_epoch = self.raft.epoch();
            self.begin(now.wall)?;
        }
        Ok(())
    }

    fn execute(&mut self, command: Command, now: i64) -> Result<Vec<Event>, QuorumError> {
        let events = match command {
            Command::Persist(election) => {
                self.persist(&election)?;
                Vec::new()
            }
            Command::StopLeading => {
                self.undecided.clear();
                self.tip = None;
                Vec::new()
            }
            Command::Flush => {
                self.flush(now)?;
                Vec::new()
            }
            Command::AppendLeaderChange { epoch, granting } => {
                let offset = self.append_leader_change(epoch, &granting, now)?;
                self.flush(now)?;
                vec![self.voters_changed(), Event::EpochStarted { offset }]
            }
            Command::AppendVoters(voters) => match self.append_voters(voters, now) {
                Ok(offset) => {
                    self.flush(now)?;
                    vec![self.voters_changed(), Event::VotersAppended { offset: Some(offset) }]
                }
                Err(error) if error.is_no_space() => vec![Event::VotersAppended { offset: None }],
                Err(error) => return Err(error),
            },
            Command::TruncateTo { offset } => self.truncate_to(offset, now)?,
            Command::AppendFetched { records, high_watermark } => {
                self.append_fetched(&records, high_watermark, now)?
            }
            Command::WriteSnapshot { id, position, bytes, is_last } => {
                self.write_snapshot(id, position, &bytes, is_last, now)?
            }
            Command::Commit { high_watermark } => {
                self.take_committed(high_watermark)?;
                Vec::new()
            }
            Command::Send { to, correlation, request } => {
                let request = encode_request(&request, &self.config.cluster_id, to.id);
                self.outbound.push(Outbound::Request { to, correlation, request });
                Vec::new()
            }
            Command::Reply { token, reply } => {
                let response = self.response(reply)?;
                self.outbound.push(Outbound::Response { token, response });
                Vec::new()
            }
            Command::Halt(reason) => {
                self.failed = Some(reason.clone());
                return Err(QuorumError::Failed(reason));
            }
        };
        Ok(events)
    }

    fn response(&self, mut reply: Reply) -> Result<crate::QuorumResponse, QuorumError> {
        let payload = self.payload(&mut reply)?;
        Ok(encode_reply(reply, payload, &self.config.listener))
    }

    pub(super) fn flush(&mut self, now: i64) -> Result<(), QuorumError> {
        if !keeps(Rule::CountFlushed) {
            return Ok(());
        }
        self.log.flush(TimestampMs(now)).map_err(|error| {
            self.failed = Some(error.to_string());
            error.into()
        })
    }

    fn persist(&mut self, election: &Election) -> Result<(), QuorumError> {
        if !keeps(Rule::RememberVotes) {
            return Ok(());
        }
        let voters: Vec<i32> = self.raft.voters().ids().collect();
        let version = self.history.version();
        let full = |cause: &io::Error| cause.kind() == io::ErrorKind::StorageFull;
        let write = || quorum_state::write(&*self.disk, &self.dir, election, version, &voters);
        self.config.last_room.try_twice(full, write).map_err(|cause| {
            self.failed = Some(cause.to_string());
            QuorumError::Io { path: self.dir.clone(), cause }
        })
    }
}

/// The log as the state machine sees it.
struct View<'a> {
    log: &'a Log,
    snapshots: &'a BTreeSet<SnapshotId>,
}

impl LogView for View<'_> {
    fn start_offset(&self) -> i64 {
        self.log.start_offset().0
    }

    fn end_offset(&self) -> i64 {
        self.log.end_offset().0
    }

    fn flushed_end(&self) -> i64 {
        if keeps(Rule::CountFlushed) { self.log.recovery_point().0 } else { self.end_offset() }
    }

    fn last_epoch(&self) -> i32 {
        match (self.log.last_epoch(), self.latest_snapshot()) {
            (Some(epoch), _) => epoch.0,
            (None, Some(snapshot)) => snapshot.epoch,
            (None, None) => 0,
        }
    }

    fn end_offset_for_epoch(&self, epoch: i32) -> (i32, i64) {
        let known = self.log.end_offset_for_epoch(LeaderEpoch(epoch));
        known.map_or_else(|| (self.last_epoch(), self.end_offset()), |(epoch, end)| (epoch.0, end.0))
    }

    fn earliest_snapshot(&self) -> Option<SnapshotId> {
        let start = self.start_offset();
        self.snapshots.iter().copied().find(|id| id.end_offset >= start)
    }

    fn latest_snapshot(&self) -> Option<SnapshotId> {
        self.snapshots.last().copied()
    }
}
