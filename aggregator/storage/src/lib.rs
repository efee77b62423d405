//! What is stored and how: entries, segments, the objects that hold them, and when two entries are one.
//!
//! ```text
//! entry → segment (rows of a flush) → file (Parquet bytes) → store (objects, create-only) → manifest, catalog (what is visible)
//!       → identity (each entry once) → compact (segments and files become fewer files)
//! ```

pub mod backup;
pub mod catalog;
pub mod cluster;
pub mod compact;
pub mod entry;
pub mod error;
pub mod file;
pub mod fsck;
pub mod identity;
pub mod invariants;
pub mod manifest;
pub mod pairs;
mod same_stamp;
pub mod segment;
pub mod store;
pub mod tolerance;
pub mod transfer;

#[cfg(test)]
mod small_store;
