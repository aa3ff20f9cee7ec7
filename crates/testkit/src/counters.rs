//! What happened in a run: a run in which something never happens tests less than it seems to.

/// Makes a struct of counts, all `u64`, that are summed up and told by their names.
#[macro_export]
macro_rules! counters {
    ($(#[$doc:meta])* $vis:vis struct $name:ident { $($field:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        $vis struct $name { $($vis $field: u64),* }

        impl $name {
            /// Adds what happened elsewhere.
            $vis fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }

            /// All of them, with their names.
            $vis fn values(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field)),*]
            }
        }
    };
}

#[cfg(test)]
mod tests {
    counters! {
        /// Two.
        struct Two { stops, starts }
    }

    #[test]
    fn counts_are_summed_up_and_told_by_name() {
        let mut sum = Two { stops: 1, starts: 2 };
        sum.add(&Two { stops: 10, ..Two::default() });
        assert_eq!(sum.values(), [("stops", 11), ("starts", 2)]);
    }
}
