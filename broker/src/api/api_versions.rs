//! ApiVersions (18): which APIs this broker serves, and the features of the cluster.
