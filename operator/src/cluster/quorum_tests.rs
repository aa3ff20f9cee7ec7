use super::*;

const NOW: i64 = 1_000_000;

fn replica(id: i32, disk: u8, age_ms: i64) -> Replica {
    Replica {
        id,
        directory: Uuid::from_bytes([disk; 16]),
        caught_up_ms: NOW - age_ms,
        fetched_ms: NOW - age_ms,
    }
}

/// Of (id, age of what it has); each on disk id + 1. Node 0 leads.
fn quorum(voters: &[(i32, i64)], observers: &[(i32, i64)]) -> Quorum {
    let all = |list: &[(i32, i64)]| {
        list.iter().map(|(id, age)| replica(*id, u8::try_from(*id + 1).unwrap(), *age)).collect()
    };
    Quorum { leader: Some(0), voters: all(voters), observers: all(observers) }
}

fn wanted(ids: &[i32]) -> BTreeSet<i32> {
    ids.iter().copied().collect()
}

fn add(id: i32) -> Plan {
    Plan::Step(Step::Add { id, directory: Uuid::from_bytes([u8::try_from(id + 1).unwrap(); 16]) })
}

fn remove(id: i32) -> Plan {
    Plan::Step(Step::Remove { id, directory: Uuid::from_bytes([u8::try_from(id + 1).unwrap(); 16]) })
}

#[test]
fn nothing_is_done_where_the_voters_are_those_wanted() {
    assert_eq!(plan(&wanted(&[0, 1, 2]), &quorum(&[(0, 0), (1, 0), (2, 99_999)], &[(5, 0)])), Plan::Settled);
    let electing = Quorum { leader: None, ..quorum(&[(0, 0)], &[]) };
    assert_eq!(plan(&wanted(&[0]), &electing), Plan::Settled);
}

#[test]
fn one_becomes_three_one_at_a_time() {
    let all = wanted(&[0, 1, 2]);
    assert_eq!(plan(&all, &quorum(&[(0, 0)], &[(1, 100), (2, 100)])), add(1));
    assert_eq!(plan(&all, &quorum(&[(0, 0), (1, 100)], &[(2, 100)])), add(2));
    assert_eq!(plan(&all, &quorum(&[(0, 0), (1, 0), (2, 0)], &[])), Plan::Settled);
}

#[test]
fn who_has_not_caught_up_is_not_added_and_the_next_one_is() {
    let all = wanted(&[0, 1, 2]);
    assert_eq!(plan(&all, &quorum(&[(0, 0)], &[(1, 60_000), (2, 0)])), add(2));
    let Plan::Waits(why) = plan(&all, &quorum(&[(0, 0)], &[(1, 60_000)])) else { panic!("waits") };
    assert!(why.contains("controller 1"), "{why}");
}

#[test]
fn nobody_is_added_while_that_would_cost_the_majority() {
    // Of four, three would have to be up: 0 and the new one are two.
    let found = quorum(&[(0, 0), (1, 60_000), (2, 60_000)], &[(3, 0)]);
    assert!(matches!(plan(&wanted(&[0, 1, 2, 3]), &found), Plan::Waits(_)));
}

#[test]
fn three_become_one_and_the_leader_goes_last() {
    assert_eq!(plan(&wanted(&[1]), &quorum(&[(0, 0), (1, 0), (2, 0)], &[])), remove(2));
    assert_eq!(plan(&wanted(&[1]), &quorum(&[(0, 0), (1, 0)], &[])), remove(0));
}

#[test]
fn a_voter_that_is_gone_is_removed_first() {
    assert_eq!(
        plan(&wanted(&[0, 1, 2]), &quorum(&[(0, 0), (1, 0), (2, 0), (3, 60_000), (4, 0)], &[])),
        remove(3)
    );
}

#[test]
fn nobody_is_removed_while_too_few_would_be_left() {
    let found = quorum(&[(0, 0), (1, 60_000), (2, 0)], &[]);
    assert!(matches!(plan(&wanted(&[0, 1]), &found), Plan::Waits(_)), "1 of 2 is no majority");
    assert_eq!(plan(&wanted(&[0, 2]), &found), remove(1));
}

#[test]
fn others_are_added_before_the_old_ones_go() {
    assert_eq!(plan(&wanted(&[0, 2]), &quorum(&[(0, 0), (1, 0)], &[(2, 0)])), add(2));
    assert!(matches!(plan(&wanted(&[0, 2]), &quorum(&[(0, 0), (1, 0)], &[])), Plan::Waits(_)));
}

#[test]
fn a_node_with_a_new_disk_loses_the_old_vote_first() {
    let mut found = quorum(&[(0, 0), (1, 0), (2, 60_000)], &[]);
    found.observers.push(replica(2, 77, 100));
    let all = wanted(&[0, 1, 2]);
    assert_eq!(plan(&all, &found), remove(2));
    found.voters.pop();
    assert_eq!(plan(&all, &found), Plan::Step(Step::Add { id: 2, directory: Uuid::from_bytes([77; 16]) }));
}

#[test]
fn static_voters_are_left_alone() {
    let mut found = quorum(&[(0, 0)], &[(1, 0)]);
    found.voters[0].directory = Uuid::ZERO;
    assert!(matches!(plan(&wanted(&[0, 1]), &found), Plan::Waits(_)));
}

#[test]
fn a_restart_counts_on_the_others_alone() {
    assert_eq!(majority_without(&quorum(&[(0, 0), (1, 0), (2, 0)], &[]), 0), (2, 2));
    assert_eq!(majority_without(&quorum(&[(0, 0), (1, 60_000), (2, 0)], &[]), 2), (1, 2));
}

/// Whatever three to five nodes are up: steps lead to what is wanted where enough are up, and no step leaves a set without a live majority.
#[test]
fn every_way_of_being_up_is_safe() {
    for from in 0_u32..32 {
        for to in 1_u32..32 {
            for up in 0_u32..32 {
                walk(from | 1, to, up | 1);
            }
        }
    }
}

fn walk(from: u32, to: u32, up: u32) {
    let members = |set: u32| (0..5).filter(move |id| set & (1 << id) != 0);
    let age = |id: i32| if up & (1 << id) != 0 { 0 } else { 60_000 };
    let goal: BTreeSet<i32> = members(to).collect();
    let mut voters: BTreeSet<i32> = members(from).collect();
    if members(from & up).count() * 2 <= voters.len() {
        return;
    }
    for _ in 0..12 {
        let list: Vec<_> = voters.iter().map(|id| (*id, age(*id))).collect();
        let rest: Vec<_> = (0..5).filter(|id| !voters.contains(id)).map(|id| (id, age(id))).collect();
        let leader = voters.iter().copied().find(|id| age(*id) == 0);
        match plan(&goal, &Quorum { leader, ..quorum(&list, &rest) }) {
            Plan::Settled => {
                assert_eq!(voters, goal, "from {from:b} up {up:b}");
                return;
            }
            Plan::Waits(_) => {
                assert!(to & !up != 0 || from & !up != 0, "waits with all up: {from:b} to {to:b}");
                return;
            }
            Plan::Step(Step::Add { id, .. }) => assert!(voters.insert(id)),
            Plan::Step(Step::Remove { id, .. }) => assert!(voters.remove(&id)),
        }
        let live = voters.iter().filter(|id| age(**id) == 0).count();
        assert!(live * 2 > voters.len(), "{voters:?} with {up:b} up");
    }
    panic!("from {from:b} to {to:b} does not end");
}
