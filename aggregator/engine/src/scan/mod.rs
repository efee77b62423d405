//! The leaves of plans: rows of selected streams, out of memory or the store.
//!
//! ```text
//! selection → pages (spans and page indexes; text index) → groups ──fetch, one ahead──→ open page ─→ rows that may be seen ─→ …
//!    … → line filters over the page's text → batches                LogScanExec
//!    … → counts by step, of most pages without reading any           CountScanExec
//!    … → places of the newest or oldest entries, then their lines    TopEntriesExec
//! ```

mod count;
mod exec;
mod fetch;
mod leaf;
mod open_page;
pub(crate) mod order;
pub(crate) mod pages;
mod rows;
mod search;
mod top;
mod waves;

pub(crate) use count::CountScan;
pub(crate) use exec::LogScan;
pub(crate) use fetch::PageSource;
pub(crate) use search::LineSearch;
pub(crate) use top::TopEntries;
