//! What a load came to: JSON and a plot.

use serde::Serialize;

use super::Load;
use crate::judge::Verdict;
use crate::plot::{self, Line, Panel};
use crate::series::{LongestGaps, Percentiles, Row};

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Whether the log is as promised, and no more records failed than were allowed.
    pub good: bool,
    /// Repeats the load.
    pub seed: u64,
    /// Where it wrote.
    pub topic: String,
    /// Counts of records, and the faults.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Offsets of the load that the log has dropped before it was read.
    pub expired: u64,
    /// From when a record was due to its acknowledgement.
    pub latency: Percentiles,
    /// From when a record was due to its first delivery to each group.
    pub end_to_end: Percentiles,
    /// The longest times without an acknowledgement.
    pub longest_gap: LongestGaps,
    /// What happened in each second.
    pub seconds: Vec<Row>,
}

impl Summary {
    pub(super) fn of(load: &Load, verdict: Verdict, longest_gap: LongestGaps, expired: u64) -> Self {
        let series = load.series.lock();
        Self {
            good: verdict.is_good()
                && expired == 0
                && verdict.failed + verdict.unresolved <= load.options.allow_failed,
            seed: load.run,
            topic: load.topic.clone(),
            verdict,
            expired,
            latency: series.latency(),
            end_to_end: series.end_to_end(),
            longest_gap,
            seconds: series.rows(),
        }
    }

    /// Records and latencies by second.
    #[must_use]
    pub fn svg(&self) -> String {
        let line = |name: &str, of: fn(&Row) -> f64| Line {
            name: name.to_owned(),
            points: self.seconds.iter().map(|row| (row.second as f64, of(row))).collect(),
        };
        let records = vec![
            line("due", |row| row.sent as f64),
            line("acknowledged", |row| row.acked as f64),
            line("failed", |row| row.failed as f64),
            line("delivered", |row| row.delivered as f64),
        ];
        let latencies =
            vec![line("p50", |row| row.p50_ms), line("p99", |row| row.p99_ms), line("max", |row| row.max_ms)];
        let panel = |title: &str, logarithmic, lines| Panel {
            title: title.to_owned(),
            x: "seconds".to_owned(),
            logarithmic,
            lines,
        };
        let log = &self.verdict.log;
        let title = format!(
            "{} of {} acknowledged; {} lost, {} duplicated, {} reordered, {} failed; longest gap {:.0} ms",
            self.verdict.acked,
            self.verdict.sent,
            log.lost,
            log.duplicated,
            log.reordered,
            self.verdict.failed,
            self.longest_gap.all_ms
        );
        plot::page(
            &title,
            &[
                panel("records a second", false, records),
                panel("latency of the records due in a second, ms", true, latencies),
            ],
        )
    }
}
