//! What happened, as a number and, if wanted, as text.

/// A digest of all that was noted. Two runs of one seed have the same, or the world is not a function of its seed.
#[derive(Debug)]
pub struct Trace {
    digest: u64,
    printed: bool,
}

impl Trace {
    /// Nothing has happened; with `printed` each line goes to standard output.
    #[must_use]
    pub fn new(printed: bool) -> Self {
        Self { digest: 0xcbf2_9ce4_8422_2325, printed }
    }

    /// Notes a line; it is only made where it is printed.
    pub fn note(&mut self, at: i64, numbers: &[i64], line: impl FnOnce() -> String) {
        self.mix(at);
        numbers.iter().for_each(|number| self.mix(*number));
        if self.printed {
            println!("{at:>7} {}", line());
        }
    }

    fn mix(&mut self, number: i64) {
        self.digest = (self.digest ^ number.cast_unsigned()).wrapping_mul(0x0000_0100_0000_01b3);
        self.digest ^= self.digest >> 29;
    }

    /// Of all that was noted.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Whether lines are printed.
    #[must_use]
    pub fn is_printed(&self) -> bool {
        self.printed
    }
}
