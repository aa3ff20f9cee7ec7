//! What happened in each second of a load, and over all of it.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Latencies are kept from 1 µs up to this many µs (an hour); what takes longer counts as an hour.
const LONGEST: u64 = 3_600_000_000;
/// Seconds that are kept apart; what comes later counts in the last one.
const SECONDS: usize = 24 * 3600;

/// Counts and latencies of a load. Times are nanoseconds since its start.
#[derive(Debug)]
pub struct Series {
    seconds: Vec<Second>,
    acknowledged: Histogram<u64>,
    delivered: Histogram<u64>,
    gaps: Gaps,
    /// Latencies of records due before this are left out of the percentiles.
    measured_from: u64,
}

#[derive(Debug)]
struct Second {
    sent: u64,
    acked: u64,
    failed: u64,
    delivered: u64,
    latency: Histogram<u32>,
}

/// One second, for the report. Milliseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Row {
    /// Seconds since the start.
    pub second: usize,
    /// Records due in it.
    pub sent: u64,
    /// Acknowledgements that came in it.
    pub acked: u64,
    /// Records given up in it.
    pub failed: u64,
    /// Records that reached consumers in it, all groups together.
    pub delivered: u64,
    /// Latency of the records due in it.
    pub p50_ms: f64,
    /// Latency of the records due in it.
    pub p99_ms: f64,
    /// Latency of the records due in it.
    pub max_ms: f64,
}

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "percentiles name themselves")]
pub struct Percentiles {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
    pub mean_ms: f64,
}

/// The longest times without an acknowledgement, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct LongestGaps {
    /// From any partition.
    pub all_ms: f64,
    /// From the partition that was silent longest, while it was sent records.
    pub partition_ms: f64,
}

impl Series {
    /// For a load on so many partitions. Records due before `measured_from` do not count in the percentiles of the whole.
    #[must_use]
    pub fn new(partitions: usize, measured_from: Duration) -> Self {
        Self {
            seconds: Vec::new(),
            acknowledged: histogram(3),
            delivered: histogram(3),
            gaps: Gaps { last: 0, longest: 0, partitions: vec![(None, 0); partitions] },
            measured_from: nanoseconds(measured_from),
        }
    }

    /// A record became due.
    pub fn sent(&mut self, partition: i32, due: u64) {
        self.second(due).sent += 1;
        self.gaps.sent(partition, due);
    }

    /// A record due at `due` was acknowledged at `now`.
    pub fn acked(&mut self, partition: i32, due: u64, now: u64) {
        let micros = now.saturating_sub(due) / 1000;
        self.second(now).acked += 1;
        // Grows as needed; the bound is what keeps it from failing.
        let _ = self.second(due).latency.record(micros.min(LONGEST));
        if due >= self.measured_from {
            self.acknowledged.saturating_record(micros);
        }
        self.gaps.acked(partition, now);
    }

    /// The client gave a record up.
    pub fn failed(&mut self, now: u64) {
        self.second(now).failed += 1;
    }

    /// A record due at `due` reached a consumer at `now`.
    pub fn delivered(&mut self, due: u64, now: u64) {
        self.second(now).delivered += 1;
        if due >= self.measured_from {
            self.delivered.saturating_record(now.saturating_sub(due) / 1000);
        }
    }

    /// From the due time to the acknowledgement.
    #[must_use]
    pub fn latency(&self) -> Percentiles {
        percentiles(&self.acknowledged)
    }

    /// From the due time to the consumer.
    #[must_use]
    pub fn end_to_end(&self) -> Percentiles {
        percentiles(&self.delivered)
    }

    /// The longest silences until now.
    #[must_use]
    pub fn gaps(&self) -> LongestGaps {
        self.gaps.longest()
    }

    /// All seconds.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.seconds.iter().enumerate().map(|(second, counts)| counts.row(second)).collect()
    }

    fn second(&mut self, at: u64) -> &mut Second {
        let second = usize::try_from(at / 1_000_000_000).unwrap_or(SECONDS).min(SECONDS - 1);
        while self.seconds.len() <= second {
            self.seconds.push(Second {
                sent: 0,
                acked: 0,
                failed: 0,
                delivered: 0,
                latency: small_histogram(),
            });
        }
        self.seconds.get_mut(second).expect("made above")
    }
}

impl Second {
    fn row(&self, second: usize) -> Row {
        Row {
            second,
            sent: self.sent,
            acked: self.acked,
            failed: self.failed,
            delivered: self.delivered,
            p50_ms: millis(self.latency.value_at_quantile(0.5)),
            p99_ms: millis(self.latency.value_at_quantile(0.99)),
            max_ms: millis(self.latency.max()),
        }
    }
}

/// Silences. One that begins before anything was sent does not count.
#[derive(Debug)]
struct Gaps {
    last: u64,
    longest: u64,
    /// Since when a partition owes an acknowledgement, and its longest silence.
    partitions: Vec<(Option<u64>, u64)>,
}

impl Gaps {
    fn sent(&mut self, partition: i32, due: u64) {
        if let Some((since @ None, _)) = self.partition(partition) {
            *since = Some(due);
        }
    }

    fn acked(&mut self, partition: i32, now: u64) {
        self.longest = self.longest.max(now.saturating_sub(self.last));
        self.last = self.last.max(now);
        if let Some((since, longest)) = self.partition(partition) {
            *longest = (*longest).max(since.map_or(0, |since| now.saturating_sub(since)));
            *since = None;
        }
    }

    fn longest(&self) -> LongestGaps {
        let partition = self.partitions.iter().map(|(_, longest)| *longest).max().unwrap_or(0);
        LongestGaps { all_ms: millis(self.longest / 1000), partition_ms: millis(partition / 1000) }
    }

    fn partition(&mut self, partition: i32) -> Option<&mut (Option<u64>, u64)> {
        self.partitions.get_mut(usize::try_from(partition).ok()?)
    }
}

/// Nanoseconds of a duration.
#[must_use]
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, digits).expect("the bounds are right")
}

/// For one second: two digits, and only as much memory as its values need.
fn small_histogram() -> Histogram<u32> {
    let mut histogram = Histogram::new(2).expect("two digits are right");
    histogram.auto(true);
    histogram
}

fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    Percentiles {
        p50_ms: millis(histogram.value_at_quantile(0.5)),
        p99_ms: millis(histogram.value_at_quantile(0.99)),
        p999_ms: millis(histogram.value_at_quantile(0.999)),
        max_ms: millis(histogram.max()),
        mean_ms: (histogram.mean()).round() / 1000.0,
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_second_has_the_latency_of_what_was_due_in_it_and_the_count_of_what_came_in_it() {
        let mut series = Series::new(1, Duration::ZERO);
        series.sent(0, 900 * MS);
        series.acked(0, 900 * MS, 1900 * MS);
        let rows = series.rows();
        assert_eq!((rows[0].sent, rows[0].acked, rows[1].acked), (1, 0, 1));
        assert!((rows[0].max_ms - 1000.0).abs() < 10.0, "{rows:?}");
    }

    #[test]
    fn the_warm_up_is_not_in_the_percentiles() {
        let mut series = Series::new(1, Duration::from_secs(1));
        series.acked(0, 0, 500 * MS);
        series.acked(0, 1000 * MS, 1002 * MS);
        assert!((series.latency().max_ms - 2.0).abs() < 0.1, "{:?}", series.latency());
    }

    #[test]
    fn the_longest_gap_is_between_acknowledgements_and_by_partition_only_while_it_owes_one() {
        let mut series = Series::new(2, Duration::ZERO);
        for (due, now) in [(0, 10), (10, 20), (20, 320), (320, 330)] {
            series.sent(0, due * MS);
            series.acked(0, due * MS, now * MS);
        }
        series.sent(1, 320 * MS);
        series.acked(1, 320 * MS, 350 * MS);
        let gaps = series.gaps();
        assert!((gaps.all_ms - 300.0).abs() < 1e-9 && (gaps.partition_ms - 300.0).abs() < 1e-9, "{gaps:?}");
    }
}
