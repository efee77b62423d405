//! The tailwater agent: tails pod logs, labels every line, pushes batches, and moves its positions on acknowledgement.
//!
//! [`start`] runs it inside the caller's tokio runtime. The way of a line, top to bottom:
//! [`discover`] finds files, [`tail`] reads them, [`parse`] makes lines of records, [`enrich`] decides labels, [`batch`] encodes,
//! [`push`] sends, [`positions`] remembers what was acknowledged. [`agent`] puts them together and ends them in order.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a panic is how a test fails"))]

mod admin;
mod agent;
mod batch;
mod budget;
pub mod causes;
mod clock;
pub mod config;
mod discover;
pub mod doctor;
mod enrich;
mod events;
mod handle;
mod journal;
mod metrics;
mod observe;
pub mod own_log;
mod parse;
mod passes;
mod pipeline;
mod positions;
pub mod promtail;
mod promtail_agent;
mod push;
mod readers;
mod relabel;
pub mod reload;
mod settings;
mod sockets;
mod starting;
mod tail;

/// Settings of the allocator, for the program's symbol `_rjem_malloc_conf`. What is freed goes back to the system at once, and all threads share one arena:
/// with 200 busy files that is a peak of 19 MiB instead of 24, for a sixth of the lines a CPU second. An agent stands on every node, and few are busy.
pub const ALLOCATOR_SETTINGS: &[u8; 60] = b"narenas:1,dirty_decay_ms:0,muzzy_decay_ms:0,tcache_max:1024\0";

pub use agent::start;
pub use config::Config;
pub use handle::{AgentError, AgentHandle, MetricsSnapshot, StartError};
pub use positions::rewind::{RewindError, request as request_rewind};
