//! Values of every type and validator, judged as Apache Kafka judges them (`keys/README.md`).

use super::keys::{self, Scope, Visibility};
use super::value::Type;
use super::*;

fn rows() -> (Vec<&'static str>, impl Iterator<Item = (Scope, &'static str, &'static str)>) {
    let mut lines = include_str!("../keys/verdicts.tsv").lines();
    let values = lines.next().unwrap().split('\t').collect();
    let row = |line: &'static str| {
        let mut columns = line.split('\t');
        let scope = if columns.next() == Some("topic") { Scope::Topic } else { Scope::Broker };
        (scope, columns.next().unwrap(), columns.next().unwrap())
    };
    (values, lines.map(row))
}

/// Names of Java classes say nothing here; what quorums are made of is judged where it is read (`node.rs`).
fn is_judged_elsewhere(key: &keys::Key) -> bool {
    key.value_type == Type::Class
        || matches!(key.name, "controller.quorum.voters" | "controller.quorum.bootstrap.servers")
}

/// Spellings that only Java takes: digits of other scripts, `NaN`, suffixes, hexadecimal floats; and a list of nothing.
const JAVAS: [&str; 5] = ["\u{ff19}", "NaN", "5f", "0x1p3", ","];

#[test]
fn every_value_is_judged_as_kafka_judges_it() {
    let (values, rows) = rows();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (scope, name, verdicts) in rows {
        let key = keys::find(scope, name).unwrap_or_else(|| panic!("{name} is no key"));
        assert_eq!(verdicts.len(), values.len());
        if is_judged_elsewhere(key) {
            continue;
        }
        for (value, verdict) in values.iter().zip(verdicts.chars()) {
            count += 1;
            let ours = key.parse(value).is_ok();
            if ours != (verdict == '+') && (ours || !JAVAS.contains(value)) {
                wrong.push(format!("{name} ({:?}) = {value:?}: Kafka says {verdict}", key.value_type));
            }
        }
    }
    assert!(count > 20_000, "{count}");
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_bad_value_is_refused_by_name_and_with_a_reason() {
    let (values, rows) = rows();
    for (scope, name, verdicts) in rows {
        let bad = values.iter().zip(verdicts.chars()).find(|(_, verdict)| *verdict == '-');
        let Some((value, _)) = bad else { continue };
        let key = keys::find(scope, name).unwrap();
        if is_judged_elsewhere(key) {
            continue;
        }
        let told = match scope {
            Scope::Broker if key.visibility == Visibility::DynamicOnly => continue,
            Scope::Broker => Config::from_overrides(&[(name, value)]).unwrap_err().to_string(),
            Scope::Topic => validate_topic_config(name, value).unwrap_err().to_string(),
        };
        let begin = format!("invalid value {:?} for {name}: ", value.trim());
        let begin_untrimmed = format!("invalid value {value:?} for {name}: ");
        let reason = told.split_once(&begin).or_else(|| told.split_once(&begin_untrimmed));
        assert!(
            reason.is_some_and(|(_, reason)| reason.contains("must") || reason.contains("is ")),
            "{told}"
        );
    }
}
