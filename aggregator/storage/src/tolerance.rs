//! What a reader does where an object is damaged or gone: it fails and names the object, or, if it was asked to, goes on without and remembers that.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::ReadError;

/// How one reader takes damage. Clones share what they remember. By default nothing is passed over.
#[derive(Debug, Clone, Default)]
pub struct Tolerance {
    /// What was wrong with objects that were passed over, in whole or in part; of each object the first fault.
    passed_over: Option<Arc<Mutex<BTreeMap<String, ReadError>>>>,
}

impl Tolerance {
    /// Passes over what is damaged or gone.
    pub fn of_damage() -> Self {
        Self { passed_over: Some(Arc::default()) }
    }

    /// Whether anything may be passed over.
    pub fn is_partial(&self) -> bool {
        self.passed_over.is_some()
    }

    /// What was read; `None` if it is passed over. Fails with what may not be passed over.
    pub fn pass_over<T>(&self, outcome: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
        let error = match outcome {
            Ok(read) => return Ok(Some(read)),
            Err(error) => error,
        };
        match (&self.passed_over, error.lost_object()) {
            (Some(passed_over), Some(key)) => {
                passed_over.lock().entry(key.to_owned()).or_insert(error);
                Ok(None)
            }
            _ => Err(error),
        }
    }

    /// Whether rows of this object may be missing.
    pub fn has_passed_over(&self, key: &str) -> bool {
        self.passed_over.as_ref().is_some_and(|passed_over| passed_over.lock().contains_key(key))
    }

    /// Objects that were passed over because the store does not have them.
    pub fn gone(&self) -> Vec<String> {
        let Some(passed_over) = &self.passed_over else { return Vec::new() };
        let passed_over = passed_over.lock();
        passed_over.iter().filter(|(_, error)| error.is_not_found()).map(|(key, _)| key.clone()).collect()
    }

    /// Takes back that objects were passed over: all is read again.
    pub fn forget(&self, keys: &[String]) {
        if let Some(passed_over) = &self.passed_over {
            passed_over.lock().retain(|key, _| !keys.contains(key));
        }
    }

    /// For people: which objects were passed over and why, in the order of their keys.
    pub fn warnings(&self) -> Vec<String> {
        let Some(passed_over) = &self.passed_over else { return Vec::new() };
        passed_over.lock().values().map(|error| format!("the answer may lack entries or hold some twice: {error}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::FileError;
    use object_store::Error;

    fn damaged(key: &str, reason: &str) -> Result<(), ReadError> {
        Err(ReadError::file(key, FileError::Damaged { part: "page", reason: reason.to_owned() }))
    }

    fn gone(key: &str) -> Result<(), ReadError> {
        Err(ReadError::store(key, Error::NotFound { path: key.to_owned(), source: "none".into() }))
    }

    #[test]
    fn by_default_every_fault_is_an_error() {
        let tolerance = Tolerance::default();
        assert!(tolerance.pass_over(damaged("a", "x")).is_err());
        assert!(tolerance.pass_over(gone("a")).is_err());
        assert_eq!(tolerance.pass_over(Ok(7)).expect("was read"), Some(7));
        assert!(!tolerance.is_partial() && tolerance.warnings().is_empty());
    }

    #[test]
    fn what_is_passed_over_is_told_once_for_each_object_by_all_clones() {
        let tolerance = Tolerance::of_damage();
        for outcome in [damaged("b", "first"), damaged("b", "second"), gone("a")] {
            assert_eq!(tolerance.clone().pass_over(outcome).expect("is passed over"), None);
        }
        let warnings = tolerance.warnings();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("object `a`"), "{warnings:?}");
        assert_eq!(warnings[1], "the answer may lack entries or hold some twice: object `b`: page is damaged: first");
        assert!(tolerance.has_passed_over("a") && !tolerance.has_passed_over("c"));
    }

    #[test]
    fn what_another_attempt_may_read_is_an_error() {
        let tolerance = Tolerance::of_damage();
        let refused = Err::<(), _>(ReadError::store("a", Error::Generic { store: "s3", source: "503".into() }));
        assert!(tolerance.pass_over(refused).is_err());
        let newer = Err::<(), _>(ReadError::file("a", FileError::OtherFormat { found: 9, supported: 1 }));
        assert!(tolerance.pass_over(newer).is_err());
        assert!(tolerance.warnings().is_empty());
    }
}
