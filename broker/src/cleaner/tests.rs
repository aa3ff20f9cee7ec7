use super::*;
use crate::config::Config;
use ottla_quorum::image::MetadataImage;

fn cleaner(overrides: &[(&str, &str)]) -> Arc<LogCleaner> {
    let config = Arc::new(Config::from_overrides(overrides).unwrap());
    let settings = config.cleaner.clone();
    let partitions = Partitions::load(config, Vec::new(), &MetadataImage::default(), clock::now()).unwrap();
    LogCleaner::new(partitions, settings)
}

#[test]
fn threads_share_memory_as_configured() {
    let share = |overrides| cleaner(overrides).share(0).unwrap().0;
    assert_eq!(
        (share(&[]).io_bytes, share(&[]).dedupe_bytes),
        (256 << 10, 128 << 20),
        "one to read, one to write"
    );
    assert_eq!(share(&[("log.cleaner.io.buffer.size", "1000")]).io_bytes, 500);
    let four = share(&[
        ("log.cleaner.threads", "4"),
        ("log.cleaner.io.buffer.size", "1000"),
        ("log.cleaner.dedupe.buffer.size", "4000"),
    ]);
    assert_eq!((four.io_bytes, four.dedupe_bytes), (125, 1000));
}

#[test]
fn a_thread_too_many_ends_and_none_begins_after_the_stop() {
    let cleaner = cleaner(&[("log.cleaner.threads", "2")]);
    assert!(cleaner.share(1).is_some() && cleaner.share(2).is_none());
    cleaner.start().unwrap();
    assert_eq!(cleaner.thread_count(), 2);
    cleaner.stop();
    cleaner.start().unwrap();
    assert_eq!(cleaner.thread_count(), 0);
}
