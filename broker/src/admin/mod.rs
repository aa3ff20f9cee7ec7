//! HTTP for probes and metrics: `/livez`, `/readyz`, `/metrics`.
