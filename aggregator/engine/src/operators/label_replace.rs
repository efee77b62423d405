//! `LabelReplaceExec`: a label made from another by a regular expression. Order and values stay; series that become equal stay apart.

use std::fmt;
use std::sync::Arc;

use arrow::array::{BinaryArray, RecordBatch};
use datafusion_common::{DataFusionError, Result};
use datafusion_execution::SendableRecordBatchStream;
use futures::{StreamExt, stream};
use regex::bytes::Regex;
use tailwater_logql::ast;
use tailwater_logql::regex_dialect::{Anchoring, RegexError, Translated, translate_anchored};
use tailwater_storage::pairs::{PairIter, Pairs};

use crate::batch::{self, POINT};
use crate::memory::OperatorMemory;
use crate::operators::exec::{BatchStream, Operator};

#[derive(Debug)]
pub(crate) struct LabelReplace {
    destination: String,
    replacement: String,
    source: String,
    translated: Translated,
    regex: Regex,
}

impl LabelReplace {
    /// Fails if the regular expression is broken or too large.
    pub(crate) fn new(replace: &ast::LabelReplace) -> Result<Self, RegexError> {
        let translated = translate_anchored(&replace.regex, Anchoring::Full)?;
        Ok(Self {
            destination: replace.destination.clone(),
            replacement: replace.replacement.clone(),
            source: replace.source.clone(),
            regex: translated.compile()?,
            translated,
        })
    }

    /// The new label set; `None` if the expression does not match. Labels without a value are removed.
    fn replaced(&self, labels: &[u8]) -> Option<Pairs> {
        let source = PairIter::over(labels).find(|(name, _)| *name == self.source).map_or("", |(_, value)| value);
        let captures = self.regex.captures(source.as_bytes())?;
        let mut value = Vec::new();
        self.translated.expand(&self.replacement, &captures, &mut value);
        let value = String::from_utf8_lossy(&value);
        let set = (!value.is_empty()).then_some((self.destination.as_str(), value.as_ref()));
        let is_kept = |(name, value): &(&str, &str)| *name != self.destination && !value.is_empty();
        Some(Pairs::from_pairs(PairIter::over(labels).filter(is_kept).chain(set)))
    }

    fn map(&self, points: &RecordBatch) -> Result<RecordBatch> {
        let (keys, labels) = batch::dictionary_column(points, "series")?;
        let replace = |labels| self.replaced(labels).map_or_else(|| labels.to_vec(), |replaced| replaced.as_bytes().to_vec());
        let replaced: Vec<Vec<u8>> = labels.iter().flatten().map(replace).collect();
        let mut columns = points.columns().to_vec();
        columns[0] = batch::dictionary_of(keys.values().to_vec(), BinaryArray::from_iter_values(replaced))?;
        RecordBatch::try_new(POINT.clone(), columns).map_err(DataFusionError::from)
    }
}

impl fmt::Display for LabelReplace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} = {:?} of {:?} =~ {:?}", self.destination, self.replacement, self.source, self.translated.pattern())
    }
}

impl Operator for LabelReplace {
    const NAME: &'static str = "LabelReplaceExec";

    fn run(self: Arc<Self>, inputs: Vec<SendableRecordBatchStream>, _memory: OperatorMemory) -> BatchStream {
        stream::iter(inputs).flatten().map(move |points| self.map(&points?)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(destination: &str, replacement: &str, source: &str, regex: &str) -> Option<Vec<(String, String)>> {
        let inner = Box::new(ast::MetricExpr::Literal(0.0));
        let [destination, replacement, source, regex] = [destination, replacement, source, regex].map(str::to_owned);
        let replace = LabelReplace::new(&ast::LabelReplace { inner, destination, replacement, source, regex }).expect("compiles");
        let labels = Pairs::from_pairs([("app", "web-1"), ("zone", "z")]);
        Some(replace.replaced(labels.as_bytes())?.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn labels_are_set_removed_or_left() {
        assert_eq!(replaced("x", "$1", "app", "(.*)-.*"), pairs(&[("app", "web-1"), ("x", "web"), ("zone", "z")]));
        assert_eq!(replaced("app", "", "app", ".*"), pairs(&[("zone", "z")]));
        assert_eq!(replaced("x", "a", "missing", ""), pairs(&[("app", "web-1"), ("x", "a"), ("zone", "z")]));
        assert_eq!(replaced("x", "a", "app", "web"), None, "the whole value has to match");
    }
}
