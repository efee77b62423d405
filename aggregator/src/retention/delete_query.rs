//! What a delete request names: a stream selector, and line filters if only some lines are meant.

use std::sync::Arc;

use tailwater_logql::ast::{Expr, Stage};
use tailwater_logql::matcher::StreamMatcher;
use tailwater_logql::needed::NeededLabels;
use tailwater_logql::pipeline::{Pipeline, PipelineOptions};
use tailwater_storage::compact::LinePredicate;

/// Why a text is no query of a delete request. Display is the body of the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeleteQueryError {
    #[error("invalid query expression: {reason}")]
    Invalid { reason: String },
    #[error("unsupported query expression: a delete request takes a stream selector and line filters, no metric")]
    Metric,
    #[error("unsupported query expression: a delete request takes a stream selector and line filters, no other stages")]
    Stage,
}

/// A compiled query. Cheap to clone.
#[derive(Clone)]
pub struct DeleteQuery {
    matchers: Arc<[StreamMatcher]>,
    /// `None`: every line.
    lines: Option<LinePredicate>,
}

impl std::fmt::Debug for DeleteQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeleteQuery").field("matchers", &self.matchers).field("filters_lines", &self.lines.is_some()).finish()
    }
}

impl DeleteQuery {
    pub fn parse(text: &str, options: PipelineOptions) -> Result<Self, DeleteQueryError> {
        let invalid = |error: &dyn std::fmt::Display| DeleteQueryError::Invalid { reason: error.to_string() };
        let log = match tailwater_logql::parse(text).map_err(|error| invalid(&error))? {
            Expr::Log(log) => log,
            Expr::Metric(_) => return Err(DeleteQueryError::Metric),
        };
        if !log.stages.iter().all(|stage| matches!(stage, Stage::LineFilter(_))) {
            return Err(DeleteQueryError::Stage);
        }
        let matchers = log.selector.matchers.iter().map(StreamMatcher::new).collect::<Result<Vec<_>, _>>();
        let pipeline = Pipeline::compile(&log.stages, None, &NeededLabels::None, &options).map_err(|error| invalid(&error))?;
        let filters = pipeline.line_filters().to_vec();
        let lines = (!filters.is_empty())
            .then(|| -> LinePredicate { Arc::new(move |line: &[u8]| filters.iter().all(|filter| filter.matches(line))) });
        Ok(Self { matchers: matchers.map_err(|error| invalid(&error))?.into(), lines })
    }

    /// Whether it names entries of a stream. `label`: the stream's value of a label, empty if it has none.
    pub fn matches<'l>(&self, label: impl Fn(&str) -> &'l str) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(label(matcher.name())))
    }

    pub fn lines(&self) -> Option<&LinePredicate> {
        self.lines.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DeleteQuery, String> {
        DeleteQuery::parse(text, PipelineOptions::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn streams_and_lines_are_named_as_a_log_query_does() {
        for (query, app, line, expected) in [
            ("{app=\"a\"}", "a", "anything", true),
            ("{app=\"a\"}", "b", "anything", false),
            ("{app=~\"a|b\"} |= \"x\" != \"y\"", "b", "has x", true),
            ("{app=~\"a|b\"} |= \"x\" != \"y\"", "b", "has x and y", false),
            ("{app=\"a\"} |~ \"(?i)ERROR\"", "a", "an error", true),
            ("{app=\"a\"} |= \"x\" or \"z\"", "a", "z", true),
            ("{app=\"a\", none=\"\"}", "a", "", true),
            ("{app=\"a\"} |= \"\"", "a", "", true),
        ] {
            let parsed = parse(query).expect(query);
            let is_named =
                parsed.matches(|name| if name == "app" { app } else { "" }) && parsed.lines().is_none_or(|lines| lines(line.as_bytes()));
            assert_eq!(is_named, expected, "{query} on {app} {line:?}");
        }
    }

    #[test]
    fn other_queries_are_refused() {
        for (query, expected) in [
            ("{app=\"a\"", "invalid query expression: parse error at line 1, col 9"),
            ("{}", "invalid query expression: parse error : queries require at least one regexp or equality matcher"),
            ("{app=\"a\"} |~ \"(\"", "invalid query expression: parse error"),
            (
                "sum(rate({app=\"a\"}[1m]))",
                "unsupported query expression: a delete request takes a stream selector and line filters, no metric",
            ),
            ("{app=\"a\"} | json", "no other stages"),
            ("{app=\"a\"} | trace_id=\"x\"", "no other stages"),
        ] {
            let refusal = parse(query).expect_err(query);
            assert!(refusal.contains(expected), "{refusal}");
        }
    }
}
