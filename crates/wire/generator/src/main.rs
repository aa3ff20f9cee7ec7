//! crates/wire/generator

fn main() {}
