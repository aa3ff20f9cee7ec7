//! What was measured: medians and ratios as a table, all values as JSON, and plots.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::Kind;
use super::phase::Phase;
use crate::load::MB;
use crate::plot::{self, Line, Panel};
use crate::series::Row;

/// What a value says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "`title` has the words")]
pub enum Measure {
    Start,
    Peak(Generator),
    PeakCpu(Generator),
    PeakMemory(Generator),
    ProduceCpu {
        rate: u32,
        partitions: u32,
    },
    ProduceP50 {
        rate: u32,
        partitions: u32,
    },
    ProduceP99 {
        rate: u32,
        partitions: u32,
    },
    ProduceP999 {
        rate: u32,
        partitions: u32,
    },
    ProduceMemory {
        rate: u32,
        partitions: u32,
    },
    ProduceRate {
        rate: u32,
        partitions: u32,
    },
    ConsumeCpu {
        rate: u32,
        partitions: u32,
    },
    ConsumeMemory {
        rate: u32,
        partitions: u32,
    },
    ConsumeRate {
        rate: u32,
        partitions: u32,
    },
    /// CPUs that others used meanwhile: how far the rest is to be trusted.
    Others,
}

/// What makes the load of a peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Generator {
    /// librdkafka, values of 1 KiB: on its one core it may be what gives out first.
    Records,
    /// librdkafka, values of 8 KiB.
    LargeRecords,
    /// Batches of 128 KiB, values of 1 KiB, made beforehand.
    Batches,
}

impl Generator {
    fn title(self) -> &'static str {
        match self {
            Self::Records => "librdkafka, 1 KiB",
            Self::LargeRecords => "librdkafka, 8 KiB",
            Self::Batches => "batches made beforehand, 1 KiB",
        }
    }
}

/// What a value should be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Aim {
    /// Ours at most so many times theirs.
    Most(f64),
    /// Ours at least so many times theirs.
    Least(f64),
    /// Ours at most so much.
    Bound(f64),
    None,
}

impl Measure {
    fn title(self) -> String {
        let at = |what: &str, rate, partitions| {
            let s = if partitions == 1 { "" } else { "s" };
            format!("{what}, {rate} MB/s, {partitions} partition{s}")
        };
        match self {
            Self::Start => "start to first acknowledged record, ms".to_owned(),
            Self::Peak(by) => format!("peak on tmpfs, brokers on one core, MB/s: {}", by.title()),
            Self::PeakCpu(_) => "... CPU-s/GiB".to_owned(),
            Self::PeakMemory(_) => "... RSS, MB".to_owned(),
            Self::ProduceCpu { rate, partitions } => at("produce: CPU-s/GiB", rate, partitions),
            Self::ProduceP50 { rate, partitions } => at("produce: p50 ms", rate, partitions),
            Self::ProduceP99 { rate, partitions } => at("produce: p99 ms", rate, partitions),
            Self::ProduceP999 { rate, partitions } => at("produce: p99.9 ms", rate, partitions),
            Self::ProduceMemory { rate, partitions } => at("produce: RSS MB", rate, partitions),
            Self::ProduceRate { rate, partitions } => at("produce: MB/s reached", rate, partitions),
            Self::ConsumeCpu { rate, partitions } => at("consume: CPU-s/GiB", rate, partitions),
            Self::ConsumeMemory { rate, partitions } => at("consume: RSS MB", rate, partitions),
            Self::ConsumeRate { rate, partitions } => at("consume: MB/s reached", rate, partitions),
            Self::Others => "CPUs that others used meanwhile".to_owned(),
        }
    }

    fn aim(self, nodes: u16) -> Aim {
        match self {
            Self::ProduceCpu { rate: 20, .. } if nodes > 1 => Aim::Most(0.6),
            Self::ProduceP99 { rate: 20, .. } if nodes > 1 => Aim::Most(0.6),
            Self::ProduceMemory { .. } | Self::ConsumeMemory { .. } if nodes > 1 => Aim::Bound(400.0),
            // Replicas and leader share one core and one memory: stated, not aimed at.
            _ if nodes > 1 => Aim::None,
            Self::Start => Aim::Bound(60.0),
            Self::Peak(_) => Aim::Least(1.5),
            Self::ProduceCpu { rate: 40, .. } | Self::ConsumeCpu { rate: 40, .. } => Aim::Most(0.6),
            Self::ProduceP99 { .. } => Aim::Most(0.6),
            Self::ProduceMemory { .. } | Self::ConsumeMemory { .. } | Self::PeakMemory(_) => {
                Aim::Bound(150.0)
            }
            _ => Aim::None,
        }
    }
}

/// One broker, measured once.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// Which.
    pub kind: Kind,
    /// Every value, in the order in which it was taken; some more than once.
    pub values: Vec<(Measure, f64)>,
    /// By second, of the fastest load at a rate.
    pub rows: Vec<Row>,
}

impl Side {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, values: Vec::new(), rows: Vec::new() }
    }

    pub(super) fn set(&mut self, measure: Measure, value: f64) {
        eprintln!("  {}: {value:.3}", measure.title());
        self.values.push((measure, value));
    }

    pub(super) fn produced(&mut self, rate: u32, partitions: u32, phase: &Phase) {
        let latency = &phase.outcome.latency;
        self.set(Measure::ProduceCpu { rate, partitions }, phase.cpu_per_gib());
        self.set(Measure::ProduceP50 { rate, partitions }, latency.p50_ms);
        self.set(Measure::ProduceP99 { rate, partitions }, latency.p99_ms);
        self.set(Measure::ProduceP999 { rate, partitions }, latency.p999_ms);
        self.set(Measure::ProduceMemory { rate, partitions }, phase.resident as f64 / MB);
        self.set(Measure::ProduceRate { rate, partitions }, phase.outcome.rate);
        self.set(Measure::Others, phase.others);
        self.rows.clone_from(&phase.outcome.rows);
    }

    pub(super) fn consumed(&mut self, rate: u32, partitions: u32, phase: &Phase) {
        self.set(Measure::ConsumeCpu { rate, partitions }, phase.cpu_per_gib());
        self.set(Measure::ConsumeMemory { rate, partitions }, phase.resident as f64 / MB);
        self.set(Measure::ConsumeRate { rate, partitions }, phase.outcome.rate);
        self.set(Measure::Others, phase.others);
    }

    pub(super) fn peak(&mut self, by: Generator, phase: &Phase) {
        self.set(Measure::Peak(by), phase.outcome.rate);
        self.set(Measure::PeakCpu(by), phase.cpu_per_gib());
        self.set(Measure::PeakMemory(by), phase.resident as f64 / MB);
        self.set(Measure::Others, phase.others);
    }
}

/// A broker's name.
pub(super) fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Apache => "Apache Kafka",
        Kind::Ottla => "Ottla",
    }
}

/// All that was measured.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Results {
    /// Nodes of each cluster.
    pub nodes: u16,
    /// In the order in which they ran.
    pub sides: Vec<Side>,
}

impl Results {
    /// Medians, ratios and spreads.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = "| | Apache Kafka | Ottla | ratio | aim | |\n|---|---|---|---|---|---|\n".to_owned();
        for measure in self.measures() {
            let (theirs, ours) = (self.values(Kind::Apache, measure), self.values(Kind::Ottla, measure));
            let (Some(their), Some(our)) = (median(&theirs), median(&ours)) else { continue };
            let ratio = our / their;
            let (aim, met) = match measure.aim(self.nodes) {
                Aim::Most(most) => (format!("≤ {most} ×"), Some(ratio <= most)),
                Aim::Least(least) => (format!("≥ {least} ×"), Some(ratio >= least)),
                Aim::Bound(bound) => (format!("≤ {bound}"), Some(our <= bound)),
                Aim::None => (String::new(), None),
            };
            let met = met.map_or("", |met| if met { "met" } else { "**not met**" });
            let _ = writeln!(
                table,
                "| {} | {} | {} | {} | {aim} | {met} |",
                measure.title(),
                spread(their, &theirs),
                spread(our, &ours),
                ratio_of(ratio)
            );
        }
        table
    }

    /// Values run by run, and the last runs by second.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut panels = Vec::new();
        for measure in self.measures().into_iter().filter(|measure| measure.aim(self.nodes) != Aim::None) {
            let line = |kind| {
                let values = self.values(kind, measure);
                let points =
                    values.iter().enumerate().map(|(index, value)| (index as f64 + 1.0, *value)).collect();
                Line { name: name(kind).to_owned(), points }
            };
            let lines = vec![line(Kind::Apache), line(Kind::Ottla)];
            panels.push(Panel { title: measure.title(), x: "run".to_owned(), logarithmic: false, lines });
        }
        panels.push(self.by_second());
        plot::page("Apache Kafka and Ottla in turn", &panels)
    }

    fn by_second(&self) -> Panel {
        let mut lines = Vec::new();
        for kind in [Kind::Apache, Kind::Ottla] {
            let Some(side) = self.sides.iter().rfind(|side| side.kind == kind) else { continue };
            let line = |what: &str, of: fn(&Row) -> f64| Line {
                name: format!("{} {what}", name(kind)),
                points: side.rows.iter().map(|row| (row.second as f64, of(row))).collect(),
            };
            lines.extend([line("p50", |row| row.p50_ms), line("p99", |row| row.p99_ms)]);
        }
        let title = "latency by second, last load at a rate of the last pair, ms".to_owned();
        Panel { title, x: "seconds".to_owned(), logarithmic: true, lines }
    }

    /// Writes results.json, results.md and results.svg.
    ///
    /// # Errors
    ///
    /// Where the directory cannot be written to.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let files = [
            ("results.json", serde_json::to_string_pretty(self)?),
            ("results.md", self.table()),
            ("results.svg", self.svg()),
        ];
        for (file, content) in files {
            std::fs::write(directory.join(file), content).with_context(|| file.to_owned())?;
        }
        Ok(())
    }

    /// Measures in the order in which they were taken first.
    fn measures(&self) -> Vec<Measure> {
        let mut measures = Vec::new();
        for (measure, _) in self.sides.iter().flat_map(|side| &side.values) {
            if !measures.contains(measure) {
                measures.push(*measure);
            }
        }
        measures
    }

    fn values(&self, kind: Kind, measure: Measure) -> Vec<f64> {
        let sides = self.sides.iter().filter(|side| side.kind == kind);
        sides
            .flat_map(|side| &side.values)
            .filter(|(of, _)| *of == measure)
            .map(|(_, value)| *value)
            .collect()
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.get((sorted.len().max(1) - 1) / 2)?, sorted.get(sorted.len() / 2)?);
    Some((low + high) / 2.0)
}

/// The median, and in brackets from least to most.
fn spread(median: f64, values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} ({}–{})", short(median), short(least), short(most))
}

/// Small ratios keep two digits that say something.
fn ratio_of(ratio: f64) -> String {
    if ratio < 0.095 { format!("{ratio:.3}") } else { format!("{ratio:.2}") }
}

fn short(value: f64) -> String {
    let digits = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(theirs: &[f64], ours: &[f64], measure: Measure) -> Results {
        let mut results = Results { nodes: 1, ..Results::default() };
        for (kind, values) in [(Kind::Apache, theirs), (Kind::Ottla, ours)] {
            for value in values {
                results.sides.push(Side { kind, values: vec![(measure, *value)], rows: Vec::new() });
            }
        }
        results
    }

    #[test]
    fn the_median_is_the_middle_one_or_between_the_two() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn the_table_judges_by_the_aim() {
        let p99 = Measure::ProduceP99 { rate: 20, partitions: 1 };
        let table = results(&[10.0, 30.0, 20.0], &[8.0, 10.0, 9.0], p99).table();
        assert!(table.contains("| produce: p99 ms, 20 MB/s, 1 partition | 20.0 (10.0–30.0) | 9.00 (8.00–10.0) | 0.45 | ≤ 0.6 × | met |"), "{table}");
        assert!(results(&[10.0], &[9.0], p99).table().contains("**not met**"));
        assert!(results(&[100.0], &[151.0], Measure::Peak(Generator::Batches)).table().contains("| met |"));
        assert!(results(&[2000.0], &[61.0], Measure::Start).table().contains("**not met**"));
    }

    #[test]
    fn what_only_one_side_has_is_no_row() {
        assert_eq!(results(&[1.0], &[], Measure::Peak(Generator::Batches)).table().lines().count(), 2);
    }
}
