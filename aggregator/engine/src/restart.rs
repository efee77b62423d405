//! Questions that are begun again, as an object of their plan is gone.
//!
//! Compaction leaves what it replaced in the store for longer than a query may take, so a pinned reader misses nothing. But a replica that stood
//! still, or a delay that was set too short, may let it meet an object that was deleted. Nothing has been answered then: what is visible now is
//! pinned, and all of it is asked anew. An object that the newest manifest names is lost, and that is an error.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use tailwater_storage::catalog::Catalog;
use tailwater_storage::error::ReadError;

use crate::error::QueryError;
use crate::scope::Scope;

/// How often a question is begun again. Once is enough, unless what it pinned then is gone as well before it is read.
const MOST: u32 = 3;

/// The beginnings that one question has left.
pub(crate) struct Restarts<'a> {
    catalog: &'a Catalog,
    scope: &'a Scope,
    all: &'a AtomicU64,
    left: u32,
}

impl<'a> Restarts<'a> {
    /// `all`: counts those of every question.
    pub(crate) fn new(catalog: &'a Catalog, scope: &'a Scope, all: &'a AtomicU64) -> Self {
        Self { catalog, scope, all, left: MOST }
    }

    /// What came of the question; `None`: it is to be asked again, of what is visible now.
    pub(crate) async fn settled<T>(&mut self, outcome: Result<T, QueryError>) -> Option<Result<T, QueryError>> {
        let gone = match &outcome {
            Err(error) => {
                let read = failed_read(error).filter(ReadError::is_not_found);
                read.iter().filter_map(ReadError::object).map(str::to_owned).collect()
            }
            Ok(_) => self.scope.tolerance().gone(),
        };
        if gone.is_empty() || self.left == 0 || !self.are_replaced(&gone).await {
            return Some(outcome);
        }
        self.left -= 1;
        self.all.fetch_add(1, Ordering::Relaxed);
        tracing::info!(objects = gone.len(), first = %gone[0], "a query is begun again: objects that it wanted to read were replaced and deleted");
        self.scope.tolerance().forget(&gone);
        None
    }

    /// Whether any of these objects is shown no more, once the newest manifests are known.
    async fn are_replaced(&self, gone: &[String]) -> bool {
        for access in self.scope.accesses() {
            if let Err(error) = self.catalog.refresh(access.tenant()).await {
                tracing::debug!(tenant = %access.tenant(), %error, "cannot tell whether objects that are gone were replaced");
                return false;
            }
        }
        let is_shown = |key: &String| self.scope.accesses().iter().any(|access| self.catalog.shows(access.tenant(), key));
        !gone.iter().all(is_shown)
    }
}

/// The read that failed, wherever in an error it stands.
pub(crate) fn failed_read(error: &(dyn Error + 'static)) -> Option<ReadError> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(read) = error.downcast_ref::<ReadError>() {
            return Some(read.clone());
        }
        if let Some(QueryError::Storage(read)) = error.downcast_ref::<QueryError>() {
            return Some(read.clone());
        }
        at = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion_common::DataFusionError;

    use super::*;

    #[test]
    fn a_failed_read_is_found_within_an_error_that_others_hold() {
        let read = ReadError::Manifest { reason: "no manifest".to_owned() };
        let outer = |inner| DataFusionError::Shared(Arc::new(DataFusionError::External(inner))).context("of a plan");
        for inner in [Box::new(read.clone()) as Box<dyn Error + Send + Sync>, Box::new(QueryError::Storage(read))] {
            assert_eq!(failed_read(&outer(inner)).expect("a read").to_string(), "no manifest");
        }
        assert!(failed_read(&outer("something else".into())).is_none());
    }
}
