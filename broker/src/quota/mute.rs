//! A connection that is not read for a while (KIP-219): its client is answered first, and told how long.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Shared by a connection and the requests that came on it.
#[derive(Debug, Clone, Default)]
pub struct Mute(Arc<Mutex<Option<Instant>>>);

impl Mute {
    /// Nothing more is read for `pause` from now; a longer pause stays. Returns it in ms, as responses carry it.
    pub fn pause(&self, pause: Duration) -> i32 {
        // A pause too long for a clock lasts as long as its field can say.
        let pause = pause.min(Duration::from_millis(i32::MAX.unsigned_abs().into()));
        if !pause.is_zero() {
            let until = Instant::now() + pause;
            let mut current = self.0.lock();
            *current = Some(current.map_or(until, |current| current.max(until)));
        }
        i32::try_from(pause.as_millis()).unwrap_or(i32::MAX)
    }

    /// Until when nothing is read, if so.
    pub fn until(&self) -> Option<Instant> {
        let mut current = self.0.lock();
        if current.is_some_and(|until| until <= Instant::now()) {
            *current = None;
        }
        *current
    }
}
