//! A label policy: selectors that somebody set over the caller's head.

use std::fmt;
use std::sync::Arc;

use tailwater_logql::ast::Selector;
use tailwater_logql::matcher::{MatcherError, StreamMatcher};
use tailwater_storage::pairs::Pairs;

/// Selectors of which a stream has to match one at least, besides those of the query. Without any, no stream does. Cheap to clone.
#[derive(Clone)]
pub struct LabelPolicy(Arc<Alternatives>);

struct Alternatives {
    selectors: Vec<Selector>,
    compiled: Vec<Vec<StreamMatcher>>,
}

impl LabelPolicy {
    /// Fails on a regular expression that does not compile.
    pub fn new(selectors: Vec<Selector>) -> Result<Self, MatcherError> {
        let compiled = selectors.iter().map(|selector| StreamMatcher::all(&selector.matchers)).collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Alternatives { selectors, compiled })))
    }

    pub(super) fn matches(&self, labels: &Pairs) -> bool {
        self.0.compiled.iter().any(|matchers| StreamMatcher::all_match(matchers, |name| labels.get(name)))
    }
}

impl fmt::Debug for LabelPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LabelPolicy").field(&self.0.selectors).finish()
    }
}
