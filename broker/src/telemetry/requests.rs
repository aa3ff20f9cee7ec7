//! Requests by API: counts by version, and times with quantiles (`kafka.network:type=RequestMetrics`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_wire::ApiKey;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::sync::Arc;

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
    bytes: Family<RequestLabel, Counter>,
    times: Arc<Times>,
}

type Times = Mutex<BTreeMap<&'static str, Histogram>>;

impl RequestMetrics {
    /// The response (`_sent` bytes) is out.
    pub fn done(&self, timing: &Timing, _sent: u64) {
        let request = timing.api.name();
        self.requests.get_or_create(&VersionLabel { request, version: i32::from(timing.version) }).inc();
        self.bytes.get_or_create(&RequestLabel { request }).inc_by(timing.bytes as u64);
        let now = Instant::now();
        let took = now.saturating_duration_since(timing.arrived);
        self.times.lock().entry(request).or_insert_with(|| Histogram::new(now)).add(took, now);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let name = |metric: &str| format!("kafka_network_requestmetrics_{metric}");
        registry.register(name("requests"), "Requests answered", self.requests.clone());
        registry.register(name("requestbytes"), "Bytes of requests answered", self.bytes.clone());
        registry.register_collector(Box::new(TimesCollector(Arc::clone(&self.times))));
    }
}

/// Times in microseconds, on a logarithmic scale; two windows, of which the older goes when the newer is full.
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

    fn add(&mut self, took: Duration, now: Instant) {
        if now.saturating_duration_since(self.began) >= WINDOW {
            self.older = std::mem::take(&mut self.newer);
            self.began = now;
        }
        self.count += 1;
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        *self.newer.entry(bucket(micros)).or_default() += 1;
    }

    /// The value, in milliseconds, that the given part of the times does not exceed.
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
                return upper(bucket) as f64 / 1000.0;
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
struct TimesCollector(Arc<Times>);

impl Collector for TimesCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let times = self.0.lock();
        let name = "kafka_network_requestmetrics_totaltimems";
        let help = "Milliseconds from the request's last byte to the response's";
        let kind = prometheus_client::metrics::MetricType::Gauge;
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for (request, histogram) in times.iter() {
            for (part, quantile) in QUANTILES {
                let metric = ConstGauge::new(histogram.quantile(part));
                metric.encode(family.encode_family(&QuantileLabel { request, quantile })?)?;
            }
        }
        let kind = prometheus_client::metrics::MetricType::Gauge;
        let mut counts = encoder.encode_descriptor(
            "kafka_network_requestmetrics_totaltimems_count",
            "Requests timed",
            None,
            kind,
        )?;
        for (request, histogram) in times.iter() {
            let metric = ConstGauge::new(i64::try_from(histogram.count).unwrap_or(i64::MAX));
            metric.encode(counts.encode_family(&RequestLabel { request })?)?;
        }
        let _ = ConstCounter::new(0_u64);
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
            histogram.add(Duration::from_millis(ms), start);
        }
        assert!((45.0..60.0).contains(&histogram.quantile(0.5)), "{}", histogram.quantile(0.5));
        assert!((95.0..115.0).contains(&histogram.quantile(0.99)));
        for minute in 1..=2 {
            histogram.add(Duration::from_millis(1), start + WINDOW * minute);
        }
        assert!(histogram.quantile(0.99) < 2.0, "old times are forgotten");
        assert_eq!(histogram.count, 102);
    }
}
