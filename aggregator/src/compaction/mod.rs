//! Background work on what is stored: segments become data files, small files large ones, what is replaced is deleted when no query reads
//! it any more.
//!
//! It has a thread of its own, so that it delays neither pushes nor queries. A failure is told once and tried again; nothing is lost by it.

mod metrics;
mod progress;
mod retire;
mod task;
mod troubles;

pub use metrics::register;
pub use progress::CompactionProgress;
pub use task::{BackgroundWork, WorkOptions};
