//! Declared resources from a cluster.
