//! What goes wrong, and the end of it.

use ottla_testkit::Weather;

use super::books::Violation;
use super::node::directory;
use super::parcel::{Caller, Parcel, Reply};
use super::world::{World, below};

impl World {
    pub(super) fn fault(&mut self) -> Result<(), Violation> {
        self.next_fault = self.now + 50 + below(&mut self.rng, 2_500);
        if self.rng.one_in(4) {
            // Another one at once.
            self.next_fault = self.now + below(&mut self.rng, 20);
        }
        self.unplanned();
        let at = self.rng.below(self.nodes.len());
        let kind = self.rng.below(24);
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
            19 => self.replace_disk(at),
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
        if !self.settings.durable && self.books.would_void(id) && !self.rng.one_in(30) {
            return;
        }
        self.kill(at, true, down);
        let seed = self.rng.next_u64();
        self.nodes[at].disk.cut_power(seed);
        self.books.counters.power_cuts += 1;
        self.books.lost(id, false);
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
        node.disk.set_space_left(Some(left));
    }

    /// A node comes back with an empty disk, under a new directory id: one at a time, and only where the voters that are left
    /// are a majority that has everything, and nobody else lacks what it had.
    fn replace_disk(&mut self, at: usize) {
        let leader = self.nodes.iter().filter_map(|node| node.up.as_ref());
        let Some(leader) = leader.map(|up| up.controller.quorum()).find(|quorum| quorum.is_active()) else {
            return;
        };
        let status = leader.status();
        let votes = |node: &super::node::Node| {
            status.voters.iter().any(|voter| (voter.id, voter.directory_id) == (node.id, node.directory))
        };
        let all_vote = self.nodes.iter().all(|node| node.id > self.settings.voters || votes(node));
        let is_settled = status.high_watermark == status.log_end_offset;
        let id = self.nodes[at].id;
        if !all_vote || !is_settled || self.books.would_void(id) || self.nodes[at].full_until > 0 {
            return;
        }
        self.books.counters.new_disks += 1;
        let down = 100 + below(&mut self.rng, 1_000);
        self.kill(at, false, down);
        self.books.lost(id, true);
        let settings = self.settings;
        let node = &mut self.nodes[at];
        node.generation += 1;
        node.directory = directory(id, node.generation);
        node.up_at = self.now + down;
        node.format(&settings, false);
    }

    /// The faults are over.
    pub(super) fn heal(&mut self) {
        self.unplanned();
        self.faulty = false;
        self.weather = Weather::FINE;
        self.network.heal();
        for node in &mut self.nodes {
            node.disk.set_space_left(None);
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
            let known = node.up.as_ref().map_or(-1, |up| up.controller.quorum().committed_image().offset());
            if known + 1 != end {
                return Some(format!("node {} has metadata up to {known} of {end}", node.id));
            }
        }
        let voters = active.controller.quorum().status().voters;
        let votes = |node: &&super::node::Node| {
            voters.iter().any(|voter| (voter.id, voter.directory_id) == (node.id, node.directory))
        };
        let all = self.nodes.iter().filter(|node| node.id <= self.settings.voters);
        if let Some(node) = all.clone().find(|node| !votes(node)) {
            return Some(format!("node {} is no voter", node.id));
        }
        if self.books.truth.topics.iter().count() < 2 {
            return Some("there are no topics".to_owned());
        }
        self.lacks_replicas()
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
