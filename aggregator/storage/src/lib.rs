//! What is stored and how: entries, segments, the objects that hold them, and when two entries are one.
//!
//! ```text
//! entry → segment (Parquet bytes) → store (objects, create-only) → catalog (what is visible) → identity (each entry once)
//! ```

pub mod catalog;
pub mod cluster;
pub mod entry;
pub mod error;
pub mod identity;
pub mod manifest;
pub mod pairs;
pub mod segment;
pub mod store;
