//! The aggregator: pushes in, durable segments and answers to LogQL out.
//!
//! ```text
//! main → cli → config → server → wiring (store, catalog, ingester, engine)
//!                              → http (push → ingest;  query, labels, series, stats → engine;  status, admin)
//!                 → offline (fsck, export, import: a store without a server)
//!                              → compaction (background: fold, merge, clean up) with retention (what is hidden, what is erased)
//!                                and peers (which replica does it)
//!                 → doctor (what keeps lines from being stored or found)
//! ```

pub mod access;
pub mod apiserver;
pub mod cache_metrics;
pub mod canary;
pub mod cli;
pub mod clock;
pub mod compaction;
pub mod config;
pub mod demo;
pub mod detected_fields;
pub mod doctor;
pub mod duplicate_metrics;
pub mod http;
pub mod ingest;
pub mod lifecycle;
pub mod limits;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod offline;
pub mod panics;
pub mod patterns;
pub mod peers;
pub mod query_metrics;
pub mod reload;
pub mod retention;
pub mod server;
pub mod signals;
pub mod tls;
pub mod wiring;
