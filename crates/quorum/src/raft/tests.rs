//! The state machine alone: what it says, grants, counts and refuses.

use ottla_wire::Uuid;

use super::message::{BeginEpoch, EndEpoch, Fetch, Fetched, ResponseBody, Vote};
use super::*;

const ELECTION: i64 = 1000;

/// A log that is only its bounds; every record below `end` is of an epoch in `epochs` (epoch, first offset).
#[derive(Clone, Debug, Default)]
pub(super) struct FakeLog {
    start: i64,
    pub(super) end: i64,
    pub(super) flushed: i64,
    epochs: Vec<(i32, i64)>,
    snapshots: Vec<SnapshotId>,
}

impl FakeLog {
    pub(super) fn of(epochs: &[(i32, i64)], end: i64) -> Self {
        Self { end, flushed: end, epochs: epochs.to_vec(), ..Self::default() }
    }

    pub(super) fn append(&mut self, epoch: i32, count: i64) {
        if self.last_epoch() != epoch {
            self.epochs.push((epoch, self.end));
        }
        self.end += count;
    }

    pub(super) fn truncate(&mut self, end: i64) {
        self.epochs.retain(|(_, first)| *first < end);
        (self.end, self.flushed) = (end, end);
    }

    pub(super) fn epoch_at(&self, offset: i64) -> i32 {
        self.epochs.iter().rev().find(|(_, first)| *first <= offset).map_or(0, |(epoch, _)| *epoch)
    }
}

impl LogView for FakeLog {
    fn start_offset(&self) -> i64 {
        self.start
    }
    fn end_offset(&self) -> i64 {
        self.end
    }
    fn flushed_end(&self) -> i64 {
        self.flushed
    }
    fn last_epoch(&self) -> i32 {
        self.epochs.last().map_or(0, |(epoch, _)| *epoch)
    }
    fn end_offset_for_epoch(&self, epoch: i32) -> (i32, i64) {
        let Some(at) = self.epochs.iter().rposition(|(known, _)| *known <= epoch) else {
            return (epoch, self.epochs.first().map_or(self.end, |(_, start)| *start));
        };
        (self.epochs[at].0, self.epochs.get(at + 1).map_or(self.end, |(_, start)| *start))
    }
    fn earliest_snapshot(&self) -> Option<SnapshotId> {
        self.snapshots.first().copied()
    }
    fn latest_snapshot(&self) -> Option<SnapshotId> {
        self.snapshots.last().copied()
    }
}

fn dir(id: i32) -> Uuid {
    Uuid::from_bytes([u8::try_from(id.rem_euclid(200)).expect("small"); 16])
}

fn key(id: i32) -> ReplicaKey {
    ReplicaKey::new(id, dir(id))
}

fn voter(id: i32) -> Voter {
    let port = 9000 + u16::try_from(id).expect("small");
    let endpoint = VoterEndpoint { name: "CONTROLLER".into(), host: "h".into(), port };
    Voter::standalone(id, dir(id), vec![endpoint])
}

fn voters(ids: &[i32]) -> VoterSet {
    ids.iter().fold(VoterSet::default(), |set, id| set.with(voter(*id)))
}

fn raft(id: i32, ids: &[i32], election: Election) -> Raft {
    raft_of(id, ids, election, 7)
}

pub(super) fn raft_of(id: i32, ids: &[i32], election: Election, seed: u64) -> Raft {
    let config = RaftConfig {
        local: voter(id),
        listener: "CONTROLLER".into(),
        bootstrap_servers: vec![("seed".into(), 1)],
        timeouts: Timeouts::default(),
        seed,
    };
    Raft::new(config, voters(ids), KRaftVersion::Dynamic, election, election.epoch, 0)
}

fn fresh(id: i32, ids: &[i32]) -> Raft {
    raft(id, ids, Election { epoch: 4, ..Election::NONE })
}

pub(super) fn sends(commands: &[Command]) -> Vec<(i32, Correlation, Request)> {
    let send = |command: &Command| match command {
        Command::Send { to, correlation, request } => Some((to.id, *correlation, request.clone())),
        _ => None,
    };
    commands.iter().filter_map(send).collect()
}

fn only_reply(commands: &[Command]) -> Reply {
    let mut replies = commands.iter().filter_map(|command| match command {
        Command::Reply { reply, .. } => Some(reply.clone()),
        _ => None,
    });
    let reply = replies.next().expect("a reply");
    assert_eq!(replies.next(), None, "one reply");
    reply
}

fn ask(raft: &mut Raft, request: Request, now: i64, log: &FakeLog) -> Vec<Command> {
    raft.handle(Event::Request { token: Token(1), request }, now, log)
}

fn vote(from: i32, to: i32, epoch: i32, last: (i32, i64), pre_vote: bool) -> Request {
    let (last_epoch, end_offset) = last;
    Request::Vote(Vote { epoch, replica: key(from), voter: Some(key(to)), last_epoch, end_offset, pre_vote })
}

fn granted(commands: &[Command]) -> bool {
    matches!(
        only_reply(commands),
        Reply { error: ErrorCode::None, body: ReplyBody::Vote { granted: true }, .. }
    )
}

fn answer_votes(
    raft: &mut Raft,
    commands: &[Command],
    from: &[i32],
    now: i64,
    log: &FakeLog,
) -> Vec<Command> {
    let mut out = Vec::new();
    for (id, correlation, request) in sends(commands) {
        let Request::Vote(vote) = request else { continue };
        if from.contains(&id) {
            let body = ResponseBody::Vote { granted: true };
            let response = Response { error: ErrorCode::None, epoch: vote.epoch, leader: None, body };
            out.extend(raft.handle(Event::Response { from: id, correlation, response }, now, log));
        }
    }
    out
}

/// Node 1 of three as the leader of epoch 5, whose first record is at the log's end.
fn leader(ids: &[i32], log: &mut FakeLog) -> Raft {
    let mut raft = fresh(1, ids);
    let now = 2 * ELECTION;
    let asked = raft.handle(Event::Tick, now, log);
    let stands = answer_votes(&mut raft, &asked, &[2], now, log);
    let wins = answer_votes(&mut raft, &stands, &[2], now, log);
    assert!(wins.contains(&Command::AppendLeaderChange { epoch: 5, granting: vec![1, 2] }), "{wins:?}");
    let offset = log.end;
    log.append(5, 1);
    log.flushed = log.end;
    raft.handle(Event::EpochStarted { offset }, now, log);
    raft
}

fn fetch(from: i32, epoch: i32, offset: i64, last_epoch: i32) -> Request {
    Request::Fetch(Fetch {
        epoch,
        replica: key(from),
        offset,
        last_epoch,
        high_watermark: i64::MAX,
        max_wait_ms: 0,
        max_bytes: 100,
    })
}

fn follower(log: &FakeLog) -> (Raft, Vec<Command>) {
    let mut raft = fresh(1, &[1, 2, 3]);
    let leader = Leader { id: 2, endpoints: voter(2).endpoints };
    let begin = BeginEpoch { epoch: 5, leader, voter: Some(key(1)) };
    let commands = ask(&mut raft, Request::BeginEpoch(begin), 0, log);
    assert!(matches!(raft.role(), Role::Follower(_)));
    (raft, commands)
}

fn fetched(raft: &mut Raft, commands: &[Command], fetched: Fetched, now: i64, log: &FakeLog) -> Vec<Command> {
    let (from, correlation, _) = sends(commands).into_iter().next().expect("it fetches");
    let leader = Some(Leader { id: 2, endpoints: Vec::new() });
    let response = Response { error: ErrorCode::None, epoch: 5, leader, body: ResponseBody::Fetch(fetched) };
    raft.handle(Event::Response { from, correlation, response }, now, log)
}

#[test]
fn a_lone_voter_leads_a_new_epoch_with_one_write() {
    let mut raft = fresh(1, &[1]);
    let mut log = FakeLog::default();
    let won = Election { epoch: 5, leader: Some(1), voted: None };
    let commands = raft.handle(Event::Tick, 0, &log);
    assert_eq!(
        commands,
        [Command::Persist(won), Command::AppendLeaderChange { epoch: 5, granting: vec![1] }]
    );
    log.append(5, 1);
    assert_eq!(raft.handle(Event::EpochStarted { offset: 0 }, 0, &log), [], "it is not flushed");
    assert!(!raft.is_active_leader());
    log.flushed = 1;
    assert_eq!(raft.handle(Event::Flushed, 0, &log), [Command::Commit { high_watermark: 1 }]);
    assert!(raft.is_active_leader());
}

#[test]
fn nobody_stands_before_others_would_vote_for_it() {
    let log = FakeLog::default();
    let mut raft = fresh(1, &[1, 2, 3]);
    assert!(
        sends(&raft.handle(Event::Tick, 10, &log))
            .iter()
            .all(|(_, _, request)| matches!(request, Request::Fetch(_)))
    );
    let commands = raft.handle(Event::Tick, 2 * ELECTION, &log);
    let asked: Vec<_> =
        sends(&commands).into_iter().filter(|(_, _, r)| matches!(r, Request::Vote(_))).collect();
    assert!(
        asked
            .iter()
            .all(|(_, _, request)| matches!(request, Request::Vote(Vote { epoch: 4, pre_vote: true, .. })))
    );
    assert!(!asked.is_empty() && raft.epoch() == 4, "no epoch is begun and nothing promised");
    let commands = answer_votes(&mut raft, &commands, &[2, 3], 2 * ELECTION, &log);
    assert_eq!(raft.epoch(), 5);
    let own = Election { epoch: 5, leader: None, voted: Some((1, dir(1))) };
    assert_eq!(
        commands.first(),
        Some(&Command::Persist(own)),
        "its own vote is written before others are asked"
    );
    assert!(
        sends(&commands)
            .iter()
            .any(|(_, _, r)| matches!(r, Request::Vote(Vote { epoch: 5, pre_vote: false, .. })))
    );
}

#[test]
fn one_vote_in_an_epoch_and_it_is_remembered() {
    let log = FakeLog::of(&[(4, 0)], 10);
    let mut raft = fresh(1, &[1, 2, 3]);
    let commands = ask(&mut raft, vote(2, 1, 5, (4, 10), false), 0, &log);
    assert!(granted(&commands));
    let persisted =
        commands.iter().rposition(|c| matches!(c, Command::Persist(Election { voted: Some((2, _)), .. })));
    let replied = commands.iter().position(|c| matches!(c, Command::Reply { .. }));
    assert!(persisted.is_some() && persisted < replied, "{commands:?}");
    assert!(granted(&ask(&mut raft, vote(2, 1, 5, (4, 10), false), 1, &log)), "the same again");
    assert!(!granted(&ask(&mut raft, vote(3, 1, 5, (4, 11), false), 1, &log)), "another in the same epoch");
    let mut again = self::raft(1, &[1, 2, 3], Election { epoch: 5, leader: None, voted: Some((2, dir(2))) });
    assert!(!granted(&ask(&mut again, vote(3, 1, 5, (4, 11), false), 1, &log)), "after a restart");
    let mut led = self::raft(1, &[1, 2, 3], Election { epoch: 5, leader: Some(1), voted: None });
    assert!(
        !granted(&ask(&mut led, vote(3, 1, 5, (4, 11), false), 1, &log)),
        "who led an epoch had its vote"
    );
}

#[test]
fn a_log_that_lacks_something_gets_no_vote() {
    let log = FakeLog::of(&[(3, 0), (4, 5)], 10);
    for (last, is_granted) in [((4, 9), false), ((3, 99), false), ((4, 10), true), ((5, 1), true)] {
        for pre_vote in [true, false] {
            let mut raft = fresh(1, &[1, 2, 3]);
            let commands = ask(&mut raft, vote(2, 1, 6, last, pre_vote), 0, &log);
            assert_eq!(granted(&commands), is_granted, "{last:?} {pre_vote}");
        }
    }
}

#[test]
fn requests_are_refused_as_kafka_refuses_them() {
    let log = FakeLog::of(&[(4, 0)], 10);
    let mut raft = fresh(1, &[1, 2, 3]);
    let mut error = |request| only_reply(&ask(&mut raft, request, 0, &log)).error;
    assert_eq!(error(vote(2, 1, 3, (2, 1), false)), ErrorCode::FencedLeaderEpoch);
    assert_eq!(
        error(vote(2, 1, 4, (4, 1), false)),
        ErrorCode::InvalidRequest,
        "an epoch that has records was led"
    );
    assert_eq!(error(vote(-1, 1, 5, (4, 1), false)), ErrorCode::InvalidRequest);
    assert_eq!(error(vote(2, 3, 5, (4, 10), false)), ErrorCode::InvalidVoterKey);
    assert_eq!(error(fetch(2, 4, 0, 0)), ErrorCode::FencedLeaderEpoch, "the vote before brought epoch 5");
    assert_eq!(error(fetch(2, 5, 0, 0)), ErrorCode::NotLeaderOrFollower);
    assert_eq!(error(fetch(2, 6, 0, 0)), ErrorCode::UnknownLeaderEpoch);
    assert_eq!(error(fetch(2, 5, -1, 0)), ErrorCode::InvalidRequest);
    let leader = |id| Leader { id, endpoints: voter(id).endpoints };
    let begin = |id, epoch| Request::BeginEpoch(BeginEpoch { epoch, leader: leader(id), voter: None });
    assert_eq!(error(begin(2, 4)), ErrorCode::FencedLeaderEpoch);
    assert_eq!(error(begin(2, 5)), ErrorCode::None);
    assert_eq!(error(begin(3, 5)), ErrorCode::InvalidRequest, "an epoch has one leader");
    let end = |id, epoch| Request::EndEpoch(EndEpoch { epoch, leader: leader(id), candidates: Vec::new() });
    assert_eq!(error(end(3, 5)), ErrorCode::InvalidRequest);
    assert_eq!(error(end(2, 5)), ErrorCode::None);
}

#[test]
fn who_hears_of_the_leader_does_not_help_to_depose_it() {
    let log = FakeLog::of(&[(4, 0)], 10);
    let (mut raft, commands) = follower(&log);
    assert!(granted(&ask(&mut raft, vote(3, 1, 5, (4, 10), true), 1, &log)), "it has not been heard of yet");
    let nothing = Fetched::Records { records: Bytes::new(), high_watermark: -1 };
    let commands = fetched(&mut raft, &commands, nothing, 2, &log);
    assert!(!granted(&ask(&mut raft, vote(3, 1, 5, (4, 10), true), 3, &log)));
    // The connection breaks: a moment later the leader counts as gone.
    let (from, correlation, _) = sends(&commands).remove(0);
    raft.handle(Event::Failed { from, correlation, failure: Failure::Disconnected }, 4, &log);
    raft.handle(Event::Tick, 410, &log);
    assert!(matches!(raft.role(), Role::Prospective(_)), "{:?}", raft.role());
    assert_eq!(raft.epoch(), 5);
    assert!(granted(&ask(&mut raft, vote(3, 1, 5, (4, 10), true), 411, &log)));
}

#[test]
fn a_majority_of_flushed_ends_commits_once_it_has_a_record_of_the_epoch() {
    let mut log = FakeLog::of(&[(4, 0)], 10);
    let mut raft = leader(&[1, 2, 3], &mut log);
    let now = 2 * ELECTION + 1;
    let commands = ask(&mut raft, fetch(2, 5, 10, 4), now, &log);
    assert!(
        !commands.iter().any(|c| matches!(c, Command::Commit { .. })),
        "nothing of epoch 5 yet: {commands:?}"
    );
    let commands = ask(&mut raft, fetch(2, 5, 11, 5), now, &log);
    assert!(commands.contains(&Command::Commit { high_watermark: 11 }), "{commands:?}");
    log.append(5, 5);
    let commands = ask(&mut raft, fetch(2, 5, 14, 5), now, &log);
    assert!(
        !commands.iter().any(|c| matches!(c, Command::Commit { .. })),
        "the leader has not flushed: {commands:?}"
    );
    assert!(ask(&mut raft, fetch(3, 5, 13, 5), now, &log).contains(&Command::Commit { high_watermark: 13 }));
    log.flushed = 16;
    assert_eq!(raft.handle(Event::Flushed, now, &log), [Command::Commit { high_watermark: 14 }]);
    let commands = ask(&mut raft, fetch(9, 5, 16, 5), now, &log);
    assert!(!commands.iter().any(|c| matches!(c, Command::Commit { .. })), "an observer does not count");
    assert_eq!(raft.high_watermark(), Some(14));
}

#[test]
fn a_fetch_waits_for_records_and_is_answered_when_there_are() {
    let mut log = FakeLog::of(&[(4, 0)], 10);
    let mut raft = leader(&[1, 2, 3], &mut log);
    let now = 2 * ELECTION + 1;
    let waiting = |offset| {
        let Request::Fetch(fetch) = fetch(2, 5, offset, 5) else { unreachable!("it is one") };
        Request::Fetch(Fetch { max_wait_ms: 500, ..fetch })
    };
    let replies =
        |commands: &[Command]| commands.iter().filter(|c| matches!(c, Command::Reply { .. })).count();
    assert_eq!(replies(&ask(&mut raft, waiting(11), now, &log)), 0);
    assert!(raft.next_deadline() <= now + 500);
    log.append(5, 1);
    assert_eq!(replies(&raft.handle(Event::Tick, now + 1, &log)), 1);
    assert_eq!(replies(&ask(&mut raft, waiting(12), now, &log)), 0);
    assert_eq!(replies(&raft.handle(Event::Tick, now + 501, &log)), 1, "in time, with nothing");
    assert_eq!(replies(&ask(&mut raft, waiting(12), now + 502, &log)), 0);
    let commands = raft.handle(Event::Resign, now + 503, &log);
    assert_eq!(only_reply(&commands).error, ErrorCode::NotLeaderOrFollower);
}

#[test]
fn logs_that_differ_are_told_where_and_cut_there() {
    let mut log = FakeLog::of(&[(2, 0), (4, 20)], 30);
    let mut raft = leader(&[1, 2, 3], &mut log);
    let mut body = |request| match only_reply(&ask(&mut raft, request, 2 * ELECTION, &log)).body {
        ReplyBody::Fetch(body) => body,
        other => panic!("{other:?}"),
    };
    assert_eq!(body(fetch(2, 5, 25, 3)), FetchReply::Diverging { epoch: 2, end_offset: 20 });
    assert_eq!(body(fetch(2, 5, 40, 4)), FetchReply::Diverging { epoch: 4, end_offset: 30 });
    assert_eq!(body(fetch(2, 5, 25, 4)), FetchReply::Read { offset: 25, max_bytes: 100 });

    let own = FakeLog::of(&[(2, 0), (3, 15)], 25);
    let (mut raft, commands) = follower(&own);
    let diverging = Fetched::Diverging { epoch: 2, end_offset: 20 };
    let commands = fetched(&mut raft, &commands, diverging, 1, &own);
    assert!(commands.contains(&Command::TruncateTo { offset: 15 }), "{commands:?}");
    assert!(sends(&commands).is_empty(), "it waits for the log");
}

#[test]
fn nothing_committed_is_ever_cut() {
    let log = FakeLog::of(&[(2, 0), (3, 15)], 25);
    let (mut raft, commands) = follower(&log);
    let nothing = Fetched::Records { records: Bytes::new(), high_watermark: 18 };
    let commands = fetched(&mut raft, &commands, nothing, 1, &log);
    assert!(commands.contains(&Command::Commit { high_watermark: 18 }));
    let commands = fetched(&mut raft, &commands, Fetched::Diverging { epoch: 2, end_offset: 10 }, 2, &log);
    assert!(matches!(commands.first(), Some(Command::Halt(_))), "{commands:?}");
}

#[test]
fn who_is_behind_the_log_gets_the_snapshot() {
    let mut log = FakeLog::of(&[(3, 50), (4, 60)], 70);
    log.start = 50;
    log.snapshots = vec![SnapshotId { end_offset: 50, epoch: 3 }, SnapshotId { end_offset: 65, epoch: 4 }];
    let mut raft = leader(&[1, 2, 3], &mut log);
    let mut body = |offset, epoch| match only_reply(&ask(
        &mut raft,
        fetch(2, 5, offset, epoch),
        2 * ELECTION,
        &log,
    ))
    .body
    {
        ReplyBody::Fetch(body) => body,
        other => panic!("{other:?}"),
    };
    let newest = FetchReply::Snapshot(SnapshotId { end_offset: 65, epoch: 4 });
    assert_eq!(body(0, 0), newest);
    assert_eq!(body(50, 2), newest, "the record before is not the same");
    assert_eq!(body(60, 2), newest);
    assert_eq!(body(50, 3), FetchReply::Read { offset: 50, max_bytes: 100 });
    assert_eq!(body(65, 4), FetchReply::Read { offset: 65, max_bytes: 100 });
}

#[test]
fn a_leader_without_a_majority_resigns_and_says_who_should_follow() {
    let mut log = FakeLog::of(&[(4, 0)], 10);
    let mut raft = leader(&[1, 2, 3], &mut log);
    let now = 2 * ELECTION;
    ask(&mut raft, fetch(3, 5, 11, 5), now + 1000, &log);
    raft.handle(Event::Tick, now + 3999, &log);
    assert!(raft.is_leader(), "one of two others is enough");
    let mut at = now + 4000;
    let commands = raft.handle(Event::Tick, at, &log);
    assert!(commands.contains(&Command::StopLeading), "{commands:?}");
    let mut ends = Vec::new();
    while matches!(raft.role(), Role::Resigned(_)) && ends.is_empty() {
        at += 50;
        ends = sends(&raft.handle(Event::Tick, at, &log));
        ends.retain(|(_, _, request)| matches!(request, Request::EndEpoch(_)));
    }
    let Some((_, _, Request::EndEpoch(end))) = ends.first() else { panic!("{ends:?}") };
    assert_eq!(end.candidates, [key(3), key(2)], "who has more comes first");
}

#[test]
fn successors_stand_at_once_in_their_order() {
    let log = FakeLog::of(&[(4, 0)], 10);
    for (candidates, at_once) in [(vec![key(1), key(3)], true), (vec![key(3), key(1)], false)] {
        let (mut raft, _) = follower(&log);
        let leader = Leader { id: 2, endpoints: Vec::new() };
        ask(&mut raft, Request::EndEpoch(EndEpoch { epoch: 5, leader, candidates }), 1, &log);
        assert_eq!(matches!(raft.role(), Role::Prospective(_)), at_once);
        raft.handle(Event::Tick, 200, &log);
        assert!(matches!(raft.role(), Role::Prospective(_)));
    }
}

#[test]
fn observers_follow_and_never_stand() {
    let log = FakeLog::of(&[(4, 0)], 10);
    let mut raft = fresh(9, &[1, 2, 3]);
    let mut now = 0;
    for _ in 0..100 {
        now += 200;
        let commands = raft.handle(Event::Tick, now, &log);
        assert!(sends(&commands).iter().all(|(_, _, request)| matches!(request, Request::Fetch(_))));
    }
    assert_eq!(raft.epoch(), 4);
    let mut asked = Vec::new();
    while asked.is_empty() {
        now += 200;
        asked = sends(&raft.handle(Event::Tick, now, &log));
    }
    let (from, correlation, _) = asked.remove(0);
    let leader = Some(Leader { id: 2, endpoints: voter(2).endpoints });
    let body = ResponseBody::Fetch(Fetched::Records { records: Bytes::new(), high_watermark: -1 });
    let response = Response { error: ErrorCode::FencedLeaderEpoch, epoch: 6, leader, body };
    let commands = raft.handle(Event::Response { from, correlation, response }, now, &log);
    assert!(matches!(raft.role(), Role::Follower(_)));
    // Unless an answer of that node is still waited for.
    let mut asked = sends(&commands);
    while asked.is_empty() {
        now += 200;
        asked = sends(&raft.handle(Event::Tick, now, &log));
    }
    assert!(
        asked.iter().all(|(to, _, request)| *to == 2 && matches!(request, Request::Fetch(_))),
        "{asked:?}"
    );
}

#[test]
fn answers_count_once_and_only_for_what_was_asked() {
    let log = FakeLog::default();
    let mut raft = fresh(1, &[1, 2, 3, 4, 5]);
    let commands = raft.handle(Event::Tick, 2 * ELECTION, &log);
    let (id, correlation, _) = sends(&commands)
        .into_iter()
        .find(|(_, _, request)| matches!(request, Request::Vote(_)))
        .expect("it asks");
    for _ in 0..3 {
        let body = ResponseBody::Vote { granted: true };
        let response = Response { error: ErrorCode::None, epoch: 4, leader: None, body };
        raft.handle(Event::Response { from: id, correlation, response }, 2 * ELECTION, &log);
    }
    assert!(
        matches!(raft.role(), Role::Prospective(ballot) if ballot.granted.len() == 2),
        "{:?}",
        raft.role()
    );
}

#[test]
fn a_voter_is_added_when_it_has_caught_up_and_one_at_a_time() {
    let mut log = FakeLog::of(&[(4, 0)], 10);
    let mut raft = leader(&[1, 2, 3], &mut log);
    let now = 2 * ELECTION + 1;
    let add = |id| Request::AddVoter { voter: voter(id), timeout_ms: 1000, ack_when_committed: true };
    let error = |commands: &[Command]| only_reply(commands).error;
    assert_eq!(
        error(&ask(&mut raft, add(4), now, &log)),
        ErrorCode::RequestTimedOut,
        "nothing is committed yet"
    );
    ask(&mut raft, fetch(2, 5, 11, 5), now, &log);
    assert_eq!(error(&ask(&mut raft, add(2), now, &log)), ErrorCode::DuplicateVoter);
    assert_eq!(error(&ask(&mut raft, add(4), now, &log)), ErrorCode::RequestTimedOut, "it has not fetched");
    ask(&mut raft, fetch(4, 5, 5, 4), now, &log);
    assert_eq!(error(&ask(&mut raft, add(4), now, &log)), ErrorCode::RequestTimedOut, "it is behind");
    ask(&mut raft, fetch(4, 5, 11, 5), now, &log);
    let commands = ask(&mut raft, add(4), now, &log);
    let grown = voters(&[1, 2, 3, 4]);
    assert_eq!(commands, [Command::AppendVoters(grown.clone())], "not answered before it is committed");
    log.append(5, 1);
    log.flushed = log.end;
    let version = KRaftVersion::Dynamic;
    raft.handle(Event::VotersChanged { voters: grown, version }, now, &log);
    raft.handle(Event::VotersAppended { offset: Some(11) }, now, &log);
    let remove = Request::RemoveVoter { voter: key(3) };
    assert_eq!(error(&ask(&mut raft, remove, now, &log)), ErrorCode::RequestTimedOut, "one at a time");
    let commands = ask(&mut raft, fetch(2, 5, 12, 5), now, &log);
    assert!(!commands.iter().any(|c| matches!(c, Command::Commit { .. })), "two of four are no majority");
    let commands = ask(&mut raft, fetch(4, 5, 12, 5), now, &log);
    let replies = commands.iter().filter_map(|c| match c {
        Command::Reply { reply: Reply { error, body: ReplyBody::AddVoter { .. }, .. }, .. } => Some(*error),
        _ => None,
    });
    assert_eq!(replies.collect::<Vec<_>>(), [ErrorCode::None]);
}

#[test]
fn a_leader_that_is_removed_leads_until_that_is_committed() {
    let mut log = FakeLog::of(&[(4, 0)], 10);
    let mut raft = leader(&[1, 2, 3], &mut log);
    let now = 2 * ELECTION + 1;
    ask(&mut raft, fetch(2, 5, 11, 5), now, &log);
    let unknown = Request::RemoveVoter { voter: ReplicaKey::new(1, dir(9)) };
    assert_eq!(only_reply(&ask(&mut raft, unknown, now, &log)).error, ErrorCode::VoterNotFound);
    let commands = ask(&mut raft, Request::RemoveVoter { voter: key(1) }, now, &log);
    let left = voters(&[2, 3]);
    assert_eq!(commands, [Command::AppendVoters(left.clone())]);
    log.append(5, 1);
    log.flushed = log.end;
    raft.handle(Event::VotersChanged { voters: left, version: KRaftVersion::Dynamic }, now, &log);
    raft.handle(Event::VotersAppended { offset: Some(11) }, now, &log);
    ask(&mut raft, fetch(2, 5, 12, 5), now, &log);
    assert!(raft.is_leader(), "its own copy does not count any more");
    let commands = ask(&mut raft, fetch(3, 5, 12, 5), now, &log);
    assert!(commands.contains(&Command::StopLeading), "{commands:?}");
    assert!(!raft.is_leader());
}

#[test]
fn who_remembers_the_leader_and_not_where_it_is_follows_when_it_is_told() {
    let mut raft = raft(9, &[], Election { epoch: 4, leader: Some(1), ..Election::NONE });
    let log = FakeLog::default();
    let commands = raft.handle(Event::Tick, 0, &log);
    let asked = sends(&commands);
    let [(to, correlation, Request::Fetch(_))] = asked.as_slice() else { panic!("it asks who leads") };
    assert_eq!(*to, -2, "a bootstrap server");
    let leader = Leader { id: 1, endpoints: voter(1).endpoints };
    let body = ResponseBody::Fetch(Fetched::Records { records: Bytes::new(), high_watermark: 0 });
    let response = Response { error: ErrorCode::None, epoch: 4, leader: Some(leader), body };
    raft.handle(Event::Response { from: *to, correlation: *correlation, response }, 10, &log);
    assert!(matches!(raft.role(), Role::Follower(_)), "{:?}", raft.role());
}
