//! What works and is not advisable, as far as the spec alone says so.

use super::validate::Node;

/// Above this, each change of metadata waits for more acknowledgements than a further failure is worth.
const MANY_VOTERS: usize = 7;

/// The warnings about a cluster of these nodes, each with the field.
pub fn of(nodes: &[Node]) -> Vec<String> {
    let brokers = nodes.iter().filter(|n| n.is_broker()).count();
    let voters = nodes.iter().filter(|n| n.is_controller()).count();
    let survives = voters.saturating_sub(1) / 2;
    let mut warnings = Vec::new();
    if voters == 1 && brokers > 1 {
        warnings.push(
            "spec.nodePools: one controller for several brokers: without it nothing can be changed or fail over; 3 survive the loss of one"
                .to_owned(),
        );
    }
    if voters % 2 == 0 && voters > 0 {
        warnings.push(format!(
            "spec.nodePools: {voters} controllers survive the loss of {survives}, as {} do; an odd number is better",
            voters - 1
        ));
    }
    if voters > MANY_VOTERS {
        warnings.push(format!(
            "spec.nodePools: {voters} controllers: every change of metadata waits for {}; 3 or 5 are usual",
            voters / 2 + 1
        ));
    }
    warnings
}
