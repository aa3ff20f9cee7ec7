//! Bytes that were appended but cannot be read yet, so that those who wait for so many learn of them when the high
//! watermark passes.

use std::collections::VecDeque;

use ottla_log::Offset;

/// More appends than this are taken together.
const MOST: usize = 1024;

/// Appends above the high watermark: where each ends, and its bytes.
#[derive(Debug, Default)]
pub(super) struct Arrivals(VecDeque<(Offset, usize)>);

impl Arrivals {
    /// `bytes` were appended up to `end`.
    pub(super) fn push(&mut self, end: Offset, bytes: usize) {
        let is_full = self.0.len() >= MOST;
        match self.0.back_mut().filter(|_| is_full) {
            Some(last) => *last = (end, last.1.saturating_add(bytes)),
            None => self.0.push_back((end, bytes)),
        }
    }

    /// Everything below `high_watermark` can be read: so many bytes more than before.
    pub(super) fn take(&mut self, high_watermark: Offset) -> usize {
        let mut bytes = 0_usize;
        while let Some((end, more)) = self.0.front().copied()
            && end <= high_watermark
        {
            bytes = bytes.saturating_add(more);
            self.0.pop_front();
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_with_the_high_watermark() {
        let mut arrivals = Arrivals::default();
        for (end, bytes) in [(10, 100), (20, 200), (30, 300)] {
            arrivals.push(Offset(end), bytes);
        }
        assert_eq!(arrivals.take(Offset(9)), 0);
        assert_eq!(arrivals.take(Offset(20)), 300);
        assert_eq!(arrivals.take(Offset(20)), 0);
        assert_eq!(arrivals.take(Offset(99)), 300);
    }

    #[test]
    fn many_appends_are_taken_together() {
        let mut arrivals = Arrivals::default();
        (1..=5000).for_each(|end| arrivals.push(Offset(end), 1));
        assert!(arrivals.0.len() <= MOST);
        assert_eq!(arrivals.take(Offset(5000)), 5000);
    }
}
