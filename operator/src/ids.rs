//! Fresh ids. The only source of randomness; all else takes ids as arguments.

pub use ottla_wire::Uuid;

/// A random id (version 4) as Kafka makes them: none that begins with `-` in text, which tools take for an option, and none of the
/// ids that Kafka keeps for itself.
pub fn random() -> Uuid {
    loop {
        let mut bytes = [0; 16];
        if getrandom::fill(&mut bytes).is_err() {
            // No entropy yet, early in a machine's life.
            std::thread::yield_now();
            continue;
        }
        let id = version_4(bytes);
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}

fn version_4(mut bytes: [u8; 16]) -> Uuid {
    if let Some(byte) = bytes.get_mut(6) {
        *byte = (*byte & 0x0f) | 0x40;
    }
    if let Some(byte) = bytes.get_mut(8) {
        *byte = (*byte & 0x3f) | 0x80;
    }
    Uuid::from_bytes(bytes)
}

/// A random byte, to spread retries.
pub fn jitter() -> u8 {
    let mut byte = [0; 1];
    // Without entropy all retry at once, which is no more than inconvenient.
    let _ = getrandom::fill(&mut byte);
    let [byte] = byte;
    byte
}
