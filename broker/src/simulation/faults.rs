//! What goes wrong, and the end of it.

use std::collections::BTreeSet;

use ottla_testkit::Weather;

use super::books::{PartitionId, Violation};
use super::node::LogDisk;
use super::parcel::{Caller, Parcel, Reply};
use super::world::{World, below};
use crate::group::placement::OFFSETS_TOPIC;

impl World {
    pub(super) fn fault(&mut self) -> Result<(), Violation> {
        self.next_fault = self.now + 50 + below(&mut self.rng, 2_500);
        if self.rng.one_in(4) {
            // Another one at once.
            self.next_fault = self.now + below(&mut self.rng, 20);
        }
        self.unplanned();
        let at = self.rng.below(self.nodes.len());
        let kind = self.rng.below(25);
        let id = self.nodes[at].id;
        self.trace.note(self.now, &[10, id.into(), i64::try_from(kind).unwrap()], || {
            format!("fault {kind} for {id}")
        });
        match kind {
            0..=3 => {
                let down = 10 + below(&mut self.rng, 300);
                self.kill(at, false, down);
            }
            4..=6 => {
                let down = 500 + below(&mut self.rng, 6_000);
                self.kill(at, false, down);
            }
            7..=9 => {
                let down = 50 + below(&mut self.rng, 3_000);
                self.cut_power(at, down);
            }
            10 => self.cut_all_power(),
            11..=13 => self.cut_links(at),
            14..=17 => self.network.heal(),
            18 => self.fill_disk(at),
            19 => self.replace_disks(at),
            24 => self.break_disk(at),
            20 => {
                if let Some(up) = &mut self.nodes[at].up {
                    (up.wanted.stop, up.beat_at) = (true, 0);
                }
            }
            21 | 22 => {
                self.books.counters.pauses += 1;
                self.nodes[at].paused_until = self.now + 200 + below(&mut self.rng, 10_000);
            }
            _ => self.nodes[at].clock.wall_off += below(&mut self.rng, 7_200_000) - 3_600_000,
        }
        Ok(())
    }

    /// Something happens that nobody planned.
    fn unplanned(&mut self) {
        self.last_fault = self.now;
        if let Some(plan) = &mut self.books.plan {
            plan.calm = false;
        }
    }

    /// The process is gone; what it had written and not synced is still there. Its connections end.
    pub(super) fn kill(&mut self, at: usize, is_silent: bool, down: i64) {
        let node = &mut self.nodes[at];
        let (id, now) = (node.id, self.now);
        let Some(up) = node.up.take() else { return };
        let epoch = up.member.epoch();
        drop(up);
        (node.up_at, node.is_silent, node.paused_until) = (now + down, is_silent, 0);
        self.books.counters.kills += 1;
        self.trace.note(now, &[11, id.into()], || format!("node {id} is gone"));
        self.unplanned();
        if is_silent {
            return;
        }
        for other in 0..self.nodes.len() {
            let node = &self.nodes[other];
            let (to, life) = (node.id, node.life);
            if self.network.is_cut(id, to) {
                continue;
            }
            let Some(up) = &node.up else { continue };
            let waiting = up.calls.iter().filter(|(_, call)| call.to == id).map(|(call, _)| *call);
            for call in waiting.collect::<Vec<_>>() {
                let at = now + 1 + below(&mut self.rng, 10);
                self.network.post(at, to, Parcel::Answer(Caller { node: to, life, call }, Reply::Broken));
            }
            if epoch >= 0 {
                let at = now + 20 + below(&mut self.rng, 150);
                self.network.post(at, to, Parcel::Gone(id, epoch));
            }
        }
    }

    fn cut_power(&mut self, at: usize, down: i64) {
        let id = self.nodes[at].id;
        if !self.settings.durable && self.books.would_void(id, |_| true) && !self.rng.one_in(30) {
            return;
        }
        self.kill(at, true, down);
        for disk in &self.nodes[at].disks {
            disk.disk.cut_power(self.rng.next_u64());
        }
        self.books.counters.power_cuts += 1;
        self.books.lost_power(id);
    }

    /// Only where nothing may be lost by it.
    fn cut_all_power(&mut self) {
        if !self.settings.durable {
            return;
        }
        for at in 0..self.nodes.len() {
            let down = 50 + below(&mut self.rng, 3_000);
            self.cut_power(at, down);
        }
    }

    /// Some of a node's links, in one direction or both.
    fn cut_links(&mut self, at: usize) {
        self.books.counters.cuts += 1;
        let id = self.nodes[at].id;
        for other in 0..self.nodes.len() {
            let other = self.nodes[other].id;
            if other != id && !self.rng.one_in(3) {
                self.network.cut(id, other);
            }
            if other != id && !self.rng.one_in(3) {
                self.network.cut(other, id);
            }
        }
    }

    fn fill_disk(&mut self, at: usize) {
        self.books.counters.full_disks += 1;
        let (left, until) = (self.rng.below(3_000), self.now + 500 + below(&mut self.rng, 4_000));
        let node = &mut self.nodes[at];
        node.full_until = until;
        let one = self.rng.below(node.disks.len());
        node.disks[one].disk.set_space_left(Some(left));
        if self.rng.one_in(3) {
            node.disks.iter().for_each(|disk| disk.disk.set_space_left(Some(left)));
        }
    }

    /// A disk without the metadata log fails; it will be mended, or replaced.
    fn break_disk(&mut self, at: usize) {
        let until = self.now + 500 + below(&mut self.rng, 10_000);
        let disks = &mut self.nodes[at].disks;
        let one = self.rng.below(disks.len());
        if one > 0 && !disks[one].is_broken() {
            self.books.counters.broken_disks += 1;
            disks[one].fail(until);
        }
    }

    /// Whoever runs the nodes looks after disks.
    pub(super) fn mend_disks(&mut self) {
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            if node.full_until > 0 && node.full_until <= self.now {
                node.full_until = 0;
                node.disks.iter().for_each(|disk| disk.disk.set_space_left(None));
            }
            let now = self.now;
            let is_due = |disk: &LogDisk| disk.is_broken() && disk.broken_until <= now;
            for one in 0..self.nodes[at].disks.len() {
                if !is_due(&self.nodes[at].disks[one]) {
                    continue;
                }
                self.kill(at, false, 100);
                self.nodes[at].disks[one].mend();
                if self.rng.one_in(2) {
                    self.replace(at, &[one]);
                }
            }
        }
    }

    /// A node comes back with empty disks, under new directory ids; that with the metadata log only where the voters that are
    /// left are a majority that has everything.
    fn replace_disks(&mut self, at: usize) {
        let count = self.nodes[at].disks.len();
        let some: Vec<usize> = (0..count).filter(|_| !self.rng.one_in(3)).collect();
        if some.contains(&0) && !self.may_lose_metadata() || self.nodes[at].is_ailing() {
            return;
        }
        self.replace(at, &some);
    }

    fn may_lose_metadata(&self) -> bool {
        let leader = self.nodes.iter().filter_map(|node| node.up.as_ref());
        let Some(leader) = leader.map(|up| up.controller.quorum()).find(|quorum| quorum.is_active()) else {
            return false;
        };
        let status = leader.status();
        let votes = |node: &super::node::Node| {
            status.voters.iter().any(|voter| (voter.id, voter.directory_id) == (node.id, node.directory()))
        };
        let all_vote = self.nodes.iter().all(|node| node.id > self.settings.voters || votes(node));
        all_vote && status.high_watermark == status.log_end_offset
    }

    /// Some disks of a node are new ones, where that leaves every promise to somebody.
    fn replace(&mut self, at: usize, some: &[usize]) {
        let node = &self.nodes[at];
        let id = node.id;
        let is_kept = |(topic, index): &PartitionId| {
            let places = node.disks_with(&format!("{topic}-{index}"));
            !places.is_empty() && !places.iter().any(|place| some.contains(place))
        };
        let affected: BTreeSet<_> = self.books.parts.keys().filter(|id| !is_kept(id)).cloned().collect();
        if some.is_empty() || self.books.would_void(id, |part| affected.contains(part)) {
            return;
        }
        self.books.counters.new_disks += 1;
        let down = 100 + below(&mut self.rng, 1_000);
        self.kill(at, false, down);
        self.books.lost(id, |part| affected.contains(part));
        let settings = self.settings;
        some.iter().for_each(|one| self.nodes[at].replace_disk(&settings, *one));
        self.nodes[at].up_at = self.now + down;
    }

    /// The faults are over.
    pub(super) fn heal(&mut self) {
        self.unplanned();
        self.faulty = false;
        self.weather = Weather::FINE;
        self.network.heal();
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            let broker = node.up.as_ref().and_then(|up| up.broker.as_ref());
            let is_offline =
                broker.is_some_and(|it| it.partitions.directories().iter().any(|it| it.is_offline()));
            if is_offline || node.disks.iter().any(LogDisk::is_broken) {
                self.kill(at, false, 10);
            }
        }
        for node in &mut self.nodes {
            for disk in &mut node.disks {
                disk.disk.set_space_left(None);
                disk.mend();
            }
            (node.full_until, node.paused_until) = (0, 0);
            node.up_at = node.up_at.min(self.now + 10);
        }
        self.trace.note(self.now, &[12], || "the faults are over".to_owned());
    }

    /// What is not yet as it has to be.
    pub(super) fn lacks(&self) -> Option<String> {
        let mut controllers = Vec::new();
        for node in &self.nodes {
            let Some(up) = node.up.as_ref().filter(|up| up.serves()) else {
                let standing = node.up.as_ref().map(|up| up.member.standing());
                return Some(format!("node {} does not serve: {standing:?}", node.id));
            };
            if up.controller.is_active() {
                controllers.push(up);
            }
        }
        let [active] = controllers.as_slice() else {
            return Some(format!("{} controllers are active", controllers.len()));
        };
        let end = active.controller.quorum().next_offset();
        for node in &self.nodes {
            let broker = node.up.as_ref().and_then(|up| up.broker.as_ref());
            let moves = broker.map_or(0, |broker| broker.partitions.future_replicas().len());
            if moves > 0 {
                return Some(format!("{moves} replicas still move on node {}", node.id));
            }
            let known = node.up.as_ref().map_or(-1, |up| up.controller.quorum().committed_image().offset());
            if known + 1 != end {
                return Some(format!("node {} has metadata up to {known} of {end}", node.id));
            }
        }
        let voters = active.controller.quorum().status().voters;
        let votes = |node: &&super::node::Node| {
            voters.iter().any(|voter| (voter.id, voter.directory_id) == (node.id, node.directory()))
        };
        let all = self.nodes.iter().filter(|node| node.id <= self.settings.voters);
        if let Some(node) = all.clone().find(|node| !votes(node)) {
            return Some(format!("node {} is no voter", node.id));
        }
        if self.books.truth.topics.iter().count() < 2 {
            return Some("there are no topics".to_owned());
        }
        let lacks_members = || {
            let lack = self.client.members.lack();
            lack.filter(|_| !self.books.is_void(OFFSETS_TOPIC))
        };
        self.lacks_replicas()
            .or_else(lacks_members)
            .or_else(|| (!self.is_all_written()).then(|| "not every partition is written".to_owned()))
    }

    fn lacks_replicas(&self) -> Option<String> {
        for topic in self.books.truth.topics.iter() {
            for (index, state) in &topic.partitions {
                if self.books.is_part_void(&topic.name, *index) {
                    continue;
                }
                if state.isr.len() < state.replicas.len() || state.leader < 0 {
                    return Some(format!("{}-{index} is not whole: {state:?}", topic.name));
                }
                let mut ends = Vec::new();
                for node in self.nodes.iter().filter(|node| state.replicas.contains(&node.id)) {
                    let broker = node.up.as_ref().and_then(|up| up.broker.as_ref());
                    let Some(partition) = broker.and_then(|it| it.partitions.find(&topic.name, *index))
                    else {
                        return Some(format!("{}-{index} is not on {}", topic.name, node.id));
                    };
                    let lies = partition.directory().id();
                    let is_told = state.directory_of(node.id) == Some(lies);
                    if !is_told && self.settings.directories > 1 {
                        return Some(format!(
                            "{}-{index} on {} lies in {lies}: {state:?}",
                            topic.name, node.id
                        ));
                    }
                    ends.push((partition.log_end_offset(), partition.high_watermark()));
                }
                let same = ends
                    .iter()
                    .all(|(end, high)| end == high && Some((end, high)) == ends.first().map(|(a, b)| (a, b)));
                if !same {
                    return Some(format!("{}-{index} differs: {ends:?}", topic.name));
                }
            }
        }
        None
    }
}
