//! Changes of the voters (KIP-853): one at a time, in the log before it counts, committed before it is answered.

use ottla_wire::ErrorCode;

use super::leader::progress_of;
use super::message::{ReplicaKey, ReplyBody, Token};
use super::role::{Change, ChangeKind, Role};
use super::{Command, LogView, Raft};
use crate::features::KRaftVersion;
use crate::voters::{Voter, VoterSet};

/// A voter to be must have caught up and fetched within this time.
const CAUGHT_UP_WITHIN_MS: i64 = 3_600_000;

/// Why a change is refused, for the answer.
type Refusal = (ErrorCode, String);

impl Raft {
    pub(super) fn add_voter(
        &mut self,
        token: Token,
        voter: Voter,
        timeout_ms: i32,
        ack_when_committed: bool,
        now: i64,
    ) {
        let checked = self.check_change(self.epoch).and_then(|()| self.check_addition(&voter, now));
        if let Err((error, message)) = checked {
            return self.answer_change(token, ChangeKind::Add, error, &message);
        }
        let voters = self.voters.clone().with(voter);
        let deadline = now.saturating_add(i64::from(timeout_ms.max(0)));
        self.begin_change(ChangeKind::Add, Some(token), deadline, voters);
        if !ack_when_committed {
            self.take_token();
            self.answer_change(token, ChangeKind::Add, ErrorCode::None, "");
        }
    }

    fn check_addition(&self, voter: &Voter, now: i64) -> Result<(), Refusal> {
        let key = ReplicaKey::new(voter.id, voter.directory_id);
        if voter.id < 0 || voter.directory_id.is_zero() {
            return Err((ErrorCode::InvalidRequest, "a voter has an id and a directory id".to_owned()));
        }
        if self.voters.get(voter.id).is_some() {
            return Err((
                ErrorCode::DuplicateVoter,
                format!("the voters have one of id {} already", voter.id),
            ));
        }
        if !voter.endpoints.iter().any(|endpoint| endpoint.name == self.config.listener) {
            let reason = format!("the voter has no address for the listener {}", self.config.listener);
            return Err((ErrorCode::InvalidRequest, reason));
        }
        let Role::Leader(leading) = &self.role else { return Ok(()) };
        let is_caught_up = progress_of(leading, key).is_some_and(|progress| {
            progress.last_caught_up >= 0 && now.saturating_sub(progress.last_fetch) < CAUGHT_UP_WITHIN_MS
        });
        if is_caught_up {
            Ok(())
        } else {
            Err((ErrorCode::RequestTimedOut, format!("node {} has not caught up with the log", voter.id)))
        }
    }

    pub(super) fn remove_voter(&mut self, token: Token, voter: ReplicaKey, now: i64) {
        let checked = self.check_change(self.epoch).and_then(|()| {
            let known = self.voters.get(voter.id).filter(|known| known.directory_id == voter.directory_id);
            match known {
                Some(_) if self.voters.len() > 1 => Ok(()),
                Some(_) => Err((ErrorCode::VoterNotFound, "the last voter cannot be removed".to_owned())),
                None => Err((ErrorCode::VoterNotFound, format!("{} is no voter", voter.id))),
            }
        });
        if let Err((error, message)) = checked {
            return self.answer_change(token, ChangeKind::Remove, error, &message);
        }
        let deadline = now.saturating_add(self.config.timeouts.request_ms);
        let voters = self.voters.clone().without(voter.id);
        self.begin_change(ChangeKind::Remove, Some(token), deadline, voters);
    }

    pub(super) fn update_voter(&mut self, token: Token, epoch: i32, voter: Voter, now: i64) {
        let checked = self.check_change(epoch).and_then(|()| {
            let (min, max) = voter.kraft_versions;
            let level = self.version.level();
            if !voter.endpoints.iter().any(|endpoint| endpoint.name == self.config.listener) {
                let reason = format!("the voter has no address for the listener {}", self.config.listener);
                return Err((ErrorCode::InvalidRequest, reason));
            }
            if !(min..=max).contains(&level) {
                return Err((
                    ErrorCode::InvalidRequest,
                    format!("the voter does not know kraft.version {level}"),
                ));
            }
            match self.voters.get(voter.id).filter(|known| known.directory_id == voter.directory_id) {
                Some(_) => Ok(()),
                None => Err((ErrorCode::VoterNotFound, format!("{} is no voter", voter.id))),
            }
        });
        if let Err((error, message)) = checked {
            return self.answer_change(token, ChangeKind::Update, error, &message);
        }
        if self.voters.get(voter.id) == Some(&voter) {
            return self.answer_change(token, ChangeKind::Update, ErrorCode::None, "");
        }
        let deadline = now.saturating_add(self.config.timeouts.request_ms);
        let voters = self.voters.clone().with(voter);
        self.begin_change(ChangeKind::Update, Some(token), deadline, voters);
    }

    fn check_change(&self, epoch: i32) -> Result<(), Refusal> {
        self.check_leader_request(epoch).map_err(|error| (error, "this node does not lead".to_owned()))?;
        let Role::Leader(leading) = &self.role else {
            return Err((ErrorCode::NotLeaderOrFollower, "this node does not lead".to_owned()));
        };
        if !leading.is_active {
            return Err((
                ErrorCode::RequestTimedOut,
                "the leader does not know yet what is committed".to_owned(),
            ));
        }
        if self.version == KRaftVersion::Static {
            return Err((
                ErrorCode::UnsupportedVersion,
                "the voters are static (kraft.version 0)".to_owned(),
            ));
        }
        if leading.change.is_some() {
            return Err((
                ErrorCode::RequestTimedOut,
                "another change of the voters is not committed yet".to_owned(),
            ));
        }
        Ok(())
    }

    fn begin_change(&mut self, kind: ChangeKind, token: Option<Token>, deadline: i64, voters: VoterSet) {
        if let Role::Leader(leading) = &mut self.role {
            leading.change = Some(Change { kind, offset: None, token, deadline });
            self.out.push(Command::AppendVoters(voters));
        }
    }

    pub(super) fn voters_appended(&mut self, offset: Option<i64>, log: &dyn LogView) {
        let Role::Leader(leading) = &mut self.role else { return };
        if let (Some(change), Some(offset)) = (&mut leading.change, offset) {
            change.offset = Some(offset);
            return self.update_high_watermark(log);
        }
        if let Some((token, kind)) =
            leading.change.take().and_then(|change| Some((change.token?, change.kind)))
        {
            self.answer_change(token, kind, ErrorCode::KafkaStorageError, "the voters could not be written");
        }
    }

    /// Answers a change that is committed or takes too long; true if the leader is no voter any more and has resigned.
    pub(super) fn finish_change(&mut self, now: i64) -> bool {
        let committed = self.high_watermark.unwrap_or(-1);
        let Role::Leader(leading) = &mut self.role else { return false };
        let Some(change) = leading.change.clone() else { return self.resign_if_removed(now) };
        if change.offset.is_some_and(|offset| committed > offset) {
            leading.change = None;
            if let Some(token) = change.token {
                self.answer_change(token, change.kind, ErrorCode::None, "");
            }
            return self.resign_if_removed(now);
        }
        if now >= change.deadline
            && let Some(token) = self.take_token()
        {
            self.answer_change(
                token,
                change.kind,
                ErrorCode::RequestTimedOut,
                "it was not committed in time",
            );
        }
        false
    }

    fn resign_if_removed(&mut self, now: i64) -> bool {
        let is_active = self.is_active_leader();
        if self.is_voter() || !is_active {
            return false;
        }
        self.resign(now);
        true
    }

    fn take_token(&mut self) -> Option<Token> {
        match &mut self.role {
            Role::Leader(leading) => leading.change.as_mut()?.token.take(),
            _ => None,
        }
    }

    pub(super) fn answer_change(&mut self, token: Token, kind: ChangeKind, error: ErrorCode, message: &str) {
        let message = error.is_error().then(|| message.to_owned());
        let body = match kind {
            ChangeKind::Add => ReplyBody::AddVoter { message },
            ChangeKind::Remove => ReplyBody::RemoveVoter { message },
            ChangeKind::Update => ReplyBody::UpdateVoter,
        };
        self.reply(token, error, body);
    }
}
