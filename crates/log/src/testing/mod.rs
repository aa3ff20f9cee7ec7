//! A disk that loses power, for this crate's tests and others' (feature `testing`).

#[cfg(any(test, feature = "testing"))]
mod crash;
#[cfg(any(test, feature = "testing"))]
mod faulty_disk;
mod hooks;
#[cfg(any(test, feature = "testing"))]
mod rng;

#[cfg(any(test, feature = "testing"))]
pub use crash::{Change, crashed};
#[cfg(any(test, feature = "testing"))]
pub use faulty_disk::FaultyDisk;
pub(crate) use hooks::truncates;
#[cfg(any(test, feature = "testing"))]
pub use hooks::without_truncation;
#[cfg(any(test, feature = "testing"))]
pub use rng::Rng;
