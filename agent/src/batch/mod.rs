//! Lines to requests: entries grouped by stream, cut by size, encoded once, compressed where they were read.
//!
//! [`builder`] is owned by one reader thread; [`split`] takes a request apart again when a receiver refuses it as a whole.

pub(crate) mod builder;
pub(crate) mod split;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::positions::table::{Mark, Revision};
use crate::tail::balance::BalancePart;

/// A request of one tenant.
#[derive(Debug, Clone)]
pub(crate) struct TenantRequest {
    pub(crate) tenant: Arc<str>,
    pub(crate) body: Bytes,
    pub(crate) entries: u64,
}

/// A finished request and what its acknowledgement means.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// Snappy block of a push request; empty if there are only marks.
    pub(crate) body: Bytes,
    pub(crate) entries: u64,
    /// Requests of tenants that lines name themselves, with their entries; counted in `entries` as well.
    pub(crate) tenants: Vec<TenantRequest>,
    pub(crate) line_bytes: u64,
    /// Where files stand once everything in here is acknowledged.
    pub(crate) marks: Vec<Mark>,
    /// What it holds of each file.
    pub(crate) balances: Vec<BalancePart>,
    /// What must be on disk before this is sent.
    pub(crate) rests_on: Revision,
    /// Where somebody waits for its end: goes with it.
    pub(crate) on_its_way: Option<Arc<()>>,
    pub(crate) finished_at: Instant,
    /// Of its oldest line, nanoseconds since the epoch; `None` if there is none.
    pub(crate) oldest_stamp: Option<i64>,
}
