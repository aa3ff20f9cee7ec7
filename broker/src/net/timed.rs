//! The time that a future has of its thread.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::{Duration, Instant};

/// Also tells how long a future was polled; what it leaves to other threads, and what it waits for, does not count.
pub async fn timed<F: Future>(inner: F) -> (F::Output, Duration) {
    let mut inner = pin!(inner);
    let mut spent = Duration::ZERO;
    let output = poll_fn(|context| {
        let began = Instant::now();
        let polled = inner.as_mut().poll(context);
        spent += began.elapsed();
        polled
    });
    (output.await, spent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_does_not_count_and_working_does() {
        let (output, spent) = timed(async {
            std::thread::sleep(Duration::from_millis(5));
            tokio::time::sleep(Duration::from_millis(500)).await;
            7
        })
        .await;
        assert_eq!(output, 7);
        assert!((Duration::from_millis(5)..Duration::from_millis(400)).contains(&spent), "{spent:?}");
    }
}
