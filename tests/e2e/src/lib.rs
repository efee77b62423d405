//! Runs the real programs with the parts they meet in production, and compares what comes out with what went in.
//!
//! ```text
//! tree (podwriter) -> agent -> [in_flight] -> gateway (nginx) -> [in_flight | faulty_proxy] -> aggregator -> folder or S3 (weed)
//!      manifest --------------------------------> oracle <-------- queries (api)
//! ```
//! Rules: nothing waits for a fixed time but the moment of a random fault; all else polls until a deadline, which is at
//! least ten times what is expected. Times are printed, never judged. Every process is killed when its handle goes out of
//! scope, and also when the test itself is killed. What a failed drill wrote stays on disk and its place is printed.
//!
//! The programs come from `TAILWATER_BIN_DIR`, by default the folder of the build that made the test. `weed` and
//! `s3rver` come from where `tests/run` puts them, or from `TAILWATER_WEED` and `TAILWATER_S3RVER`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "drills run in real time, with real processes")]

pub mod agent;
pub mod aggregator;
pub mod api;
pub mod chain;
pub mod deadline;
pub mod drill;
pub mod faulty_proxy;
pub mod gateway;
pub mod generator;
pub mod http_message;
pub mod in_flight;
pub mod oracle;
pub mod ports;
pub mod process;
pub mod programs;
pub mod random;
pub mod s3;
pub mod system_calls;
pub mod wire;
