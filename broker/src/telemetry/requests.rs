//! Requests by API: counts by version, sizes and times with quantiles (`kafka.network:type=RequestMetrics`).

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_wire::ApiKey;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// Quantiles are over this much of the past, or twice as much.
const WINDOW: Duration = Duration::from_secs(60);
/// Buckets per power of two: values are told apart to within an eighth.
const STEPS: u32 = 8;
const QUANTILES: [(f64, &str); 5] =
    [(0.5, "0.50"), (0.75, "0.75"), (0.95, "0.95"), (0.99, "0.99"), (0.999, "0.999")];

/// A request on its way, for the clock.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Which API.
    pub api: ApiKey,
    /// Which version of it.
    pub version: i16,
    /// When its last byte was read.
    pub arrived: Instant,
    /// Its size.
    pub bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabel {
    request: &'static str,
    version: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    request: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuantileLabel {
    request: &'static str,
    quantile: &'static str,
}

/// Counts and times per API.
#[derive(Debug, Default)]
pub struct RequestMetrics {
    requests: Family<VersionLabel, Counter>,
    histograms: Arc<Mutex<BTreeMap<&'static str, Histograms>>>,
}

/// What is measured of each request of an API.
#[derive(Debug)]
struct Histograms {
    bytes: Histogram,
    micros: Histogram,
}

impl RequestMetrics {
    /// The response is out.
    pub fn done(&self, timing: &Timing) {
        let request = timing.api.name();
        self.requests.get_or_create(&VersionLabel { request, version: i32::from(timing.version) }).inc();
        let now = Instant::now();
        let took = now.saturating_duration_since(timing.arrived);
        let mut histograms = self.histograms.lock();
        let new = || Histograms { bytes: Histogram::new(now), micros: Histogram::new(now) };
        let of_api = histograms.entry(request).or_insert_with(new);
        of_api.bytes.add(timing.bytes as u64, now);
        of_api.micros.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), now);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let name = "kafka_network_requestmetrics_requests";
        registry.register(name, "Requests answered", self.requests.clone());
        registry.register_collector(Box::new(HistogramsCollector(Arc::clone(&self.histograms))));
    }
}

/// Numbers on a logarithmic scale; two windows, of which the older goes when the newer is full.
#[derive(Debug)]
struct Histogram {
    count: u64,
    began: Instant,
    newer: BTreeMap<u32, u64>,
    older: BTreeMap<u32, u64>,
}

impl Histogram {
    fn new(now: Instant) -> Self {
        Self { count: 0, began: now, newer: BTreeMap::new(), older: BTreeMap::new() }
    }

    fn add(&mut self, value: u64, now: Instant) {
        if now.saturating_duration_since(self.began) >= WINDOW {
            self.older = std::mem::take(&mut self.newer);
            self.began = now;
        }
        self.count += 1;
        *self.newer.entry(bucket(value)).or_default() += 1;
    }

    /// The value that the given part of the numbers does not exceed.
    fn quantile(&self, part: f64) -> f64 {
        let mut buckets = self.older.clone();
        for (bucket, count) in &self.newer {
            *buckets.entry(*bucket).or_default() += count;
        }
        let total: u64 = buckets.values().sum();
        let mut left = part * total as f64;
        for (bucket, count) in buckets {
            left -= count as f64;
            if left <= 0.0 {
                return upper(bucket) as f64;
            }
        }
        0.0
    }
}

fn bucket(value: u64) -> u32 {
    if value < u64::from(STEPS) {
        return u32::try_from(value).unwrap_or(0);
    }
    let power = value.ilog2();
    let step = (value >> (power - STEPS.ilog2())) & u64::from(STEPS - 1);
    (power - STEPS.ilog2() + 1) * STEPS + u32::try_from(step).unwrap_or(0)
}

/// The largest value of a bucket.
fn upper(bucket: u32) -> u64 {
    if bucket < STEPS {
        return u64::from(bucket);
    }
    let shift = bucket / STEPS - 1;
    let step = u64::from(bucket % STEPS) + u64::from(STEPS) + 1;
    step.checked_shl(shift).unwrap_or(u64::MAX).saturating_sub(1)
}

#[derive(Debug)]
struct HistogramsCollector(Arc<Mutex<BTreeMap<&'static str, Histograms>>>);

/// A metric's name, what it says, its histogram, and how much of that is one.
type Metric = (&'static str, &'static str, fn(&Histograms) -> &Histogram, f64);

const METRICS: [Metric; 2] = [
    ("requestbytes", "Bytes of a request", |of_api| &of_api.bytes, 1.0),
    (
        "totaltimems",
        "Milliseconds from the request's last byte to the response's",
        |of_api| &of_api.micros,
        1000.0,
    ),
];

impl Collector for HistogramsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let histograms = self.0.lock();
        for (name, help, histogram, unit) in METRICS {
            let name = format!("kafka_network_requestmetrics_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
            for (request, of_api) in histograms.iter() {
                for (part, quantile) in QUANTILES {
                    let metric = ConstGauge::new(histogram(of_api).quantile(part) / unit);
                    metric.encode(family.encode_family(&QuantileLabel { request, quantile })?)?;
                }
            }
            let name = format!("{name}_count");
            let mut family =
                encoder.encode_descriptor(&name, "Requests measured", None, MetricType::Gauge)?;
            for (request, of_api) in histograms.iter() {
                let metric = ConstGauge::new(i64::try_from(histogram(of_api).count).unwrap_or(i64::MAX));
                metric.encode(family.encode_family(&RequestLabel { request })?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_an_eighth_wide() {
        for value in [0, 1, 7, 8, 9, 15, 16, 17, 100, 1000, 123_456, 10_000_000, u64::MAX / 2] {
            let upper = upper(bucket(value));
            assert!(upper >= value, "{value} is above its bucket's end {upper}");
            assert!(upper - value <= value / 8 + 1, "{value} is far below its bucket's end {upper}");
        }
    }

    #[test]
    fn quantiles_and_the_end_of_the_past() {
        let start = Instant::now();
        let mut histogram = Histogram::new(start);
        for ms in 1..=100 {
            histogram.add(ms, start);
        }
        assert!((45.0..60.0).contains(&histogram.quantile(0.5)), "{}", histogram.quantile(0.5));
        assert!((95.0..115.0).contains(&histogram.quantile(0.99)));
        for minute in 1..=2 {
            histogram.add(1, start + WINDOW * minute);
        }
        assert!(histogram.quantile(0.99) < 2.0, "the old ones are forgotten");
        assert_eq!(histogram.count, 102);
    }
}
