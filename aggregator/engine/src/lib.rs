//! Answers questions: LogQL trees become DataFusion plans over our own scan leaf.
//!
//! ```text
//! request + access → plan (streams, parts, row ranges) → LogScanExec → PipelineExec → RangeAggregateExec → gather → answer
//! ```
//! A [`Scope`] (the [`Access`] to each tenant) is part of every plan: there is no way to build one without saying whose data it may touch.

pub mod access;
pub mod answer;
mod batch;
mod context;
mod engine;
pub mod error;
mod evaluation;
mod gather;
mod listing;
mod loki_order;
mod memory;
mod operators;
mod pages;
mod plan;
pub mod request;
mod restart;
mod results;
mod scan;
pub mod scope;
mod statistics;
mod visibility;
mod volume;

pub use access::Access;
pub use engine::{Engine, EngineOptions};
pub use error::QueryError;
pub use memory::SpillFolder;
pub use results::ResultCounters;
pub use scope::Scope;
