//! `ottla-broker`: start a node, or prepare its storage.

fn main() {}
