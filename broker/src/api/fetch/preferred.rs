//! Sending consumers to a replica in their own rack (KIP-392, `replica.selector.class`).

use ottla_log::Offset;
use ottla_quorum::image::MetadataImage;

use super::super::RequestContext;
use crate::broker::Broker;
use crate::partition::{Partition, ReadableReplica};

/// The replica that a consumer in `rack` should read from, if that is not this one.
pub(super) fn replica(
    broker: &Broker,
    context: &RequestContext,
    partition: &Partition,
    offset: i64,
    rack: &str,
) -> Option<i32> {
    if rack.is_empty() || !partition.leadership().here {
        return None;
    }
    let image = broker.image();
    choose(
        &image,
        context.listener.as_str(),
        broker.node_id,
        rack,
        &partition.readable_replicas(Offset(offset)),
    )
}

/// Of the replicas in the rack the one with the most, and of these the one that has caught up last; nobody if the leader is
/// in the rack.
fn choose(
    image: &MetadataImage,
    listener: &str,
    leader: i32,
    rack: &str,
    replicas: &[ReadableReplica],
) -> Option<i32> {
    let is_near = |id: i32| {
        let broker = image.broker(id).filter(|broker| !broker.fenced && broker.endpoint(listener).is_some());
        broker.is_some_and(|broker| broker.rack.as_deref() == Some(rack))
    };
    if is_near(leader) {
        return None;
    }
    let near = replicas.iter().filter(|replica| is_near(replica.id));
    let best = near.max_by_key(|replica| (replica.end, std::cmp::Reverse(replica.behind_ms), replica.id));
    best.map(|replica| replica.id)
}

#[cfg(test)]
mod tests {
    use ottla_quorum::MetadataRecord;
    use ottla_wire::Str;
    use ottla_wire::records::metadata::RegisterBrokerRecord;
    use ottla_wire::records::metadata::register_broker_record::BrokerEndpoint;

    use super::*;

    /// Broker 1 in rack a, 2 and 3 in b, 4 in c.
    fn image() -> MetadataImage {
        let mut image = MetadataImage::empty("cluster".into());
        for (broker_id, rack) in [(1, "a"), (2, "b"), (3, "b"), (4, "c")] {
            let end_points = vec![BrokerEndpoint { name: "L".into(), ..Default::default() }];
            let (rack, fenced) = (Some(Str::from(rack)), broker_id == 4);
            let record = RegisterBrokerRecord { broker_id, rack, fenced, end_points, ..Default::default() };
            image.apply(&MetadataRecord::from(record)).unwrap();
        }
        image
    }

    fn replica(id: i32, end: i64, behind_ms: i64) -> ReadableReplica {
        ReadableReplica { id, end: Offset(end), behind_ms }
    }

    #[test]
    fn a_consumer_is_sent_to_the_best_replica_of_its_rack() {
        let image = image();
        let all = [replica(2, 10, 5), replica(3, 9, 0), replica(4, 10, 0)];
        let choose = |rack, replicas: &[ReadableReplica]| choose(&image, "L", 1, rack, replicas);
        assert_eq!(choose("b", &all), Some(2), "the one with the most");
        assert_eq!(choose("b", &[replica(2, 9, 5), replica(3, 9, 0)]), Some(3), "the one that keeps up best");
        assert_eq!(choose("a", &all), None, "the leader is there");
        assert_eq!(choose("c", &all), None, "its only replica is fenced");
        assert_eq!(choose("d", &all), None, "nobody is there");
        assert_eq!(super::choose(&image, "other", 1, "b", &all), None, "not on this listener");
    }
}
