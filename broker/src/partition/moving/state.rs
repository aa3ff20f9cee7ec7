//! What a move does next. Pure: no log, no clock.

/// How far a move is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The copy is a part of the original, unless that was cut since.
    fits: bool,
    /// It had everything when it was last looked: what is missing is little.
    is_close: bool,
    /// The controller is to be told.
    asked: bool,
    rests: u32,
}

/// What is so now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The original was cut since the copy was made to fit.
    pub(super) cut: bool,
    /// The copy ends before the original.
    pub(super) behind: bool,
    /// More was copied than may be.
    pub(super) throttled: bool,
    /// The metadata has the partition in the target.
    pub(super) noted: bool,
    /// The original is being cleaned.
    pub(super) cleaned: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Cut the copy back to what fits.
    Fit,
    /// Copy a piece.
    Copy,
    /// Have the controller told.
    Ask,
    /// Put the copy in the original's place.
    Swap,
    /// Wait.
    Rest(Why),
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The rate.
    Throttled,
    /// The metadata.
    Controller,
    /// A cleaning that ends.
    Cleaning,
}

/// Longest rest while the controller is waited for, in ms.
const LONGEST_MS: i64 = 1_000;

impl Progress {
    /// What to do now.
    pub(super) fn next(&self, facts: &Facts) -> Next {
        if !self.fits || facts.cut {
            return Next::Fit;
        }
        if facts.behind && !self.is_close {
            return if facts.throttled { Next::Rest(Why::Throttled) } else { Next::Copy };
        }
        match (facts.noted, self.asked) {
            (true, _) if facts.cleaned => Next::Rest(Why::Cleaning),
            (true, _) => Next::Swap,
            (false, false) => Next::Ask,
            (false, true) if facts.behind && !facts.throttled => Next::Copy,
            (false, true) => Next::Rest(Why::Controller),
        }
    }

    /// The copy fits now, or is not known to.
    pub(super) fn fitted(&mut self, fits: bool) {
        self.fits = fits;
        self.is_close &= fits;
    }

    /// A piece was copied; whether it `reached` the end that there was. Says whether to go on at once.
    pub(super) fn copied(&mut self, reached: bool) -> bool {
        self.is_close = reached;
        !(reached && self.asked)
    }

    /// The controller is being told.
    pub(super) fn ask(&mut self) {
        (self.asked, self.rests) = (true, 0);
    }

    /// How long to wait, in ms, and whether to ask again then.
    pub(super) fn rest(&mut self, why: Why) -> (i64, bool) {
        if why != Why::Controller {
            return (50, false);
        }
        let rest = (10_i64 << self.rests.min(10)).min(LONGEST_MS);
        self.rests = self.rests.saturating_add(1);
        (rest, rest == LONGEST_MS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_move_fits_copies_asks_and_swaps() {
        let mut progress = Progress::default();
        let mut facts = Facts { behind: true, ..Facts::default() };
        assert_eq!(progress.next(&facts), Next::Fit);
        progress.fitted(true);
        assert_eq!(progress.next(&facts), Next::Copy);
        assert!(progress.copied(false));
        facts.throttled = true;
        assert_eq!(progress.next(&facts), Next::Rest(Why::Throttled));
        facts = Facts { behind: false, ..Facts::default() };
        assert_eq!(progress.next(&facts), Next::Ask);
        progress.ask();
        assert_eq!(progress.next(&facts), Next::Rest(Why::Controller));
        facts.behind = true;
        assert_eq!(progress.next(&facts), Next::Copy, "what comes meanwhile");
        assert!(!progress.copied(true), "and then it rests");
        facts = Facts { noted: true, cleaned: true, behind: true, ..Facts::default() };
        assert_eq!(progress.next(&facts), Next::Rest(Why::Cleaning));
        facts.cleaned = false;
        assert_eq!(progress.next(&facts), Next::Swap, "the last of it goes with the swap");
        progress.copied(false);
        assert_eq!(progress.next(&facts), Next::Copy, "it was too much");
    }

    #[test]
    fn the_controller_is_asked_again_when_it_is_silent() {
        let mut progress = Progress::default();
        progress.ask();
        let rests: Vec<_> = (0..9).map(|_| progress.rest(Why::Controller)).collect();
        assert_eq!(rests.first(), Some(&(10, false)));
        assert_eq!(rests.last(), Some(&(LONGEST_MS, true)));
    }

    proptest! {
        /// Whatever happened before: only what fits is copied to, and swapped in where the controller agrees and nobody cleans.
        #[test]
        fn nothing_is_swapped_that_may_not_be(bits in any::<[bool; 8]>()) {
            let [fits, is_close, asked, cut, behind, throttled, noted, cleaned] = bits;
            let progress = Progress { fits, is_close, asked, rests: 0 };
            let next = progress.next(&Facts { cut, behind, throttled, noted, cleaned });
            prop_assert_eq!(next == Next::Fit, !fits || cut);
            if next == Next::Swap {
                prop_assert!(noted && !cleaned && (is_close || !behind));
            }
            if next == Next::Copy {
                prop_assert!(behind && !throttled);
            }
            if next == Next::Ask {
                prop_assert!(!noted && !asked && (is_close || !behind));
            }
        }
    }
}
