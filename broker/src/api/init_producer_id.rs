//! InitProducerId (22), idempotent producers only.
