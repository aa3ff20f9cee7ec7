//! Every row of `tests/wrong-specs.json` against the CRDs' schemas and rules, and the operator's own judgement; without an API server.

use super::{KafkaCluster, KafkaTopic};
use crate::{
    cluster::{acceptance, observe::Observed},
    fixtures::validated,
};
use kube::CustomResourceExt;
use kube_cel::Validator;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Table {
    base: Value,
    topic: Value,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    change: bool,
    set: BTreeMap<String, Value>,
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    refused: Option<String>,
    #[serde(default)]
    told: Vec<String>,
    #[serde(default)]
    warned: Option<String>,
}

fn table() -> Table {
    serde_json::from_str(include_str!("../../../tests/wrong-specs.json")).unwrap()
}

impl Row {
    fn is_topic(&self) -> bool {
        self.kind.as_deref() == Some("topic")
    }

    /// The object, and the one before it.
    fn objects(&self, table: &Table) -> (Value, Option<Value>) {
        let mut before = if self.is_topic() { table.topic.clone() } else { table.base.clone() };
        before["metadata"]["namespace"] = "shop".into();
        before["metadata"]["uid"] = "uid".into();
        let mut object = before.clone();
        self.set.iter().for_each(|(pointer, value)| set(&mut object, pointer, value));
        (object, self.change.then_some(before))
    }
}

fn set(object: &mut Value, pointer: &str, value: &Value) {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    match object.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}")) {
        Value::Array(list) if last == "-" => list.push(value.clone()),
        Value::Array(list) if value.is_null() => drop(list.remove(last.parse().unwrap())),
        Value::Array(list) => list[last.parse::<usize>().unwrap()] = value.clone(),
        Value::Object(map) if value.is_null() => drop(map.remove(last)),
        Value::Object(map) => drop(map.insert(last.to_owned(), value.clone())),
        other => panic!("{pointer}: {other}"),
    }
}

fn schema<K: CustomResourceExt>() -> Value {
    let crd = serde_json::to_value(K::crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// What an API server says: of the schema, and where that is kept, of the rules.
fn admission(schema: &Value, object: &mut Value, before: Option<&mut Value>) -> Vec<String> {
    defaults(schema, object);
    let mut wrong = Vec::new();
    structure(schema, object, "", &mut wrong);
    if !wrong.is_empty() {
        return wrong;
    }
    let before = before.map(|before| {
        defaults(schema, before);
        &*before
    });
    let found = Validator::new().validate(schema, object, before);
    found.err().into_iter().flatten().map(|e| e.message).collect()
}

/// Fills in the schema's defaults, as the API server does.
fn defaults(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
                if let (None, Some(default)) = (map.get(key), inner.get("default")) {
                    map.insert(key.clone(), default.clone());
                }
                if let Some(value) = map.get_mut(key) {
                    defaults(inner, value);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|item| defaults(&schema["items"], item)),
        _ => {}
    }
}

/// What of a structural schema our CRDs use.
fn structure(schema: &Value, value: &Value, path: &str, wrong: &mut Vec<String>) {
    let mut say = |reason: &str| wrong.push(format!("{path}: {reason}"));
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    let is_text_or_number = schema["x-kubernetes-int-or-string"] == true;
    let is_right = match schema["type"].as_str() {
        _ if is_text_or_number => value.is_i64() || value.is_string(),
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    if !is_right {
        return say("is of another type");
    }
    if schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
        say("is not supported");
    }
    if let Some(number) = value.as_f64() {
        let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        if least.is_some_and(|l| number < l) || most.is_some_and(|m| number > m) {
            say("is out of range");
        }
    }
    if let Some(text) = value.as_str() {
        let pattern = schema["pattern"].as_str().map(|p| regex::Regex::new(p).unwrap());
        if pattern.is_some_and(|p| !p.is_match(text)) || !fits(schema, "Length", text.chars().count()) {
            say("does not have the form");
        }
    }
    match value {
        Value::Object(map) => object(schema, map, path, wrong),
        Value::Array(list) => array(schema, list, path, wrong),
        _ => {}
    }
}

fn fits(schema: &Value, what: &str, count: usize) -> bool {
    let bound = |which: &str| schema[format!("{which}{what}")].as_u64();
    let count = count as u64;
    bound("min").is_none_or(|least| count >= least) && bound("max").is_none_or(|most| count <= most)
}

fn object(schema: &Value, map: &Map<String, Value>, path: &str, wrong: &mut Vec<String>) {
    let at = |key: &str| format!("{path}.{key}").trim_start_matches('.').to_owned();
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !map.contains_key(key) {
            wrong.push(format!("{}: is required", at(key)));
        }
    }
    if !fits(schema, "Properties", map.len()) {
        wrong.push(format!("{path}: too many"));
    }
    for (key, value) in map {
        let inner = schema["properties"].get(key).or_else(|| schema.get("additionalProperties"));
        match inner {
            Some(inner) => structure(inner, value, &at(key), wrong),
            None if schema["x-kubernetes-preserve-unknown-fields"] == true => {}
            None if path.is_empty() || path == "metadata" => {}
            None => wrong.push(format!("{}: unknown field", at(key))),
        }
    }
}

fn array(schema: &Value, list: &[Value], path: &str, wrong: &mut Vec<String>) {
    if !fits(schema, "Items", list.len()) {
        wrong.push(format!("{path}: too few or too many"));
    }
    let keys = schema["x-kubernetes-list-map-keys"].as_array();
    let is_set = schema["x-kubernetes-list-type"] == "set";
    let key = |item: &Value| match keys {
        Some(keys) => keys.iter().filter_map(|k| item.get(k.as_str()?).cloned()).collect(),
        None => vec![item.clone()],
    };
    for (index, item) in list.iter().enumerate() {
        let at = format!("{path}[{index}]");
        structure(&schema["items"], item, &at, wrong);
        let is_again = list.iter().take(index).any(|earlier| key(earlier) == key(item));
        if (keys.is_some() || is_set) && is_again {
            wrong.push(format!("{at}: is there twice"));
        }
    }
}

/// What the operator makes of a cluster that was let in: warnings, or what is wrong.
fn judged(object: Value) -> Result<Vec<String>, String> {
    let cluster: KafkaCluster = serde_json::from_value(object).map_err(|e| e.to_string())?;
    let validated = validated(&cluster, &Observed::default()).map_err(|e| e.to_string())?;
    acceptance::judge(&validated).map_err(|e| e.to_string())?;
    Ok(validated.warnings)
}

#[test]
fn every_wrong_spec_is_refused_or_told() {
    let table = table();
    let (cluster, topic) = (schema::<KafkaCluster>(), schema::<KafkaTopic>());
    let mut failures = Vec::new();
    for row in &table.rows {
        let (mut object, mut before) = row.objects(&table);
        let schema = if row.is_topic() { &topic } else { &cluster };
        let said = admission(schema, &mut object, before.as_mut());
        let failure = match &row.refused {
            Some(words) if said.iter().any(|s| s.contains(words)) => None,
            Some(words) => Some(format!("{words:?} not in {said:?}")),
            None if !said.is_empty() => Some(format!("not let in: {said:?}")),
            None => told(row, object),
        };
        failures.extend(failure.map(|failure| format!("{}: {failure}", row.name)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What is wrong with what the operator says of a row that was let in.
fn told(row: &Row, object: Value) -> Option<String> {
    if row.is_topic() {
        return serde_json::from_value::<KafkaTopic>(object).err().map(|e| e.to_string());
    }
    match judged(object) {
        Ok(_) if row.by.is_some() => None,
        Ok(warnings) => {
            let is_said = row.warned.as_ref().is_some_and(|words| warnings.iter().any(|w| w.contains(words)));
            (!is_said).then(|| format!("carried out, with {warnings:?}"))
        }
        Err(error) => {
            let is_said = !row.told.is_empty() && row.told.iter().all(|words| error.contains(words));
            (!is_said).then(|| format!("{:?} not in {error:?}", row.told))
        }
    }
}

#[test]
fn the_table_is_about_what_it_says() {
    let table = table();
    for (name, mut object, schema) in [
        ("base", table.base.clone(), schema::<KafkaCluster>()),
        ("topic", table.topic.clone(), schema::<KafkaTopic>()),
    ] {
        let mut same = object.clone();
        assert_eq!(admission(&schema, &mut object, Some(&mut same)), Vec::<String>::new(), "{name}");
    }
    for row in &table.rows {
        let ends = [row.refused.is_some(), !row.told.is_empty(), row.warned.is_some()];
        assert_eq!(ends.iter().filter(|e| **e).count(), 1, "{}: one end", row.name);
    }
    let mut names: Vec<_> = table.rows.iter().map(|r| (r.is_topic(), &r.name)).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), table.rows.len(), "names are used once");
}
