//! What text the entries that a query wants must hold: the question for text indexes, and what pages are searched for.

use datafusion_common::DataFusionError;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use regex::bytes::{Regex, RegexBuilder};
use tailwater_logql::ast::Stage;
use tailwater_logql::required::{Requirement, required_text};
use tailwater_storage::catalog::MaybePages;
use tailwater_textindex::Probe;
use tokio_util::task::AbortOnDropHandle;

use crate::error::QueryError;
use crate::plan::Planner;
use crate::plan::selection::SharedSelection;
use crate::scan::pages::SelectedPage;

/// Text indexes that are asked at once.
const INDEXES_AT_ONCE: usize = 16;

/// Shorter literals are in too many lines to be worth a search of their own.
const SHORTEST_LITERAL: usize = 3;

/// Most literals that a page is searched for at once.
const MOST_LITERALS: usize = 64;

impl Planner<'_> {
    /// Leaves out the pages that hold no entry that passes the stages, as far as text indexes know.
    pub(super) async fn prune(
        &self,
        selection: &SharedSelection,
        pages: Vec<SelectedPage>,
        stages: &[Stage],
    ) -> Result<Vec<SelectedPage>, QueryError> {
        if !self.text_index {
            return Ok(pages);
        }
        let is_known_label = |name: &str| selection.streams().iter().any(|stream| stream.labels.get(name).is_some());
        let probe = probe(required_text(stages, is_known_label));
        if probe == Probe::Always {
            return Ok(pages);
        }
        let is_same_file = |left: &SelectedPage, right: &SelectedPage| selection.part(left.part).key() == selection.part(right.part).key();
        let files: Vec<usize> = pages.chunk_by(is_same_file).map(|pages| pages[0].part).collect();
        // Blocks have to be decompressed: each index is a task.
        let asked = files.into_iter().map(|part| {
            let (catalog, selection, probe) = (self.catalog.clone(), selection.clone(), probe.clone());
            let asked = tokio::spawn(async move { catalog.maybe_pages_by(selection.reads(), selection.part(part).file(), &probe).await });
            AbortOnDropHandle::new(asked)
                .map(|done| done.map_err(|error| DataFusionError::External(Box::new(error)))?.map_err(QueryError::from))
        });
        let found: Vec<Option<MaybePages>> = stream::iter(asked).buffered(INDEXES_AT_ONCE).try_collect().await?;
        let mut kept = Vec::new();
        for (pages, found) in pages.chunk_by(is_same_file).zip(found) {
            let may_hold =
                |page: &&SelectedPage| found.as_ref().is_none_or(|maybe| maybe.contains(selection.part(page.part).row_group(), page.page));
            kept.extend(pages.iter().filter(may_hold).cloned());
        }
        Ok(kept)
    }
}

/// What an index is asked.
fn probe(requirement: Requirement) -> Probe {
    match requirement {
        Requirement::Anything => Probe::Always,
        Requirement::Text { bytes, fold_case } => Probe::Literal { bytes, fold_case },
        Requirement::All(parts) => Probe::All(parts.into_iter().map(probe).collect()),
        Requirement::Any(parts) => Probe::Any(parts.into_iter().map(probe).collect()),
    }
}

/// Literals of which every line that passes the line filters holds one; `None` if none are known that are worth a search. The line filters are those
/// that see lines as they were stored.
pub(super) fn searched_pattern(stages: &[Stage]) -> Option<Regex> {
    let changes_line = |stage: &&Stage| !matches!(stage, Stage::LineFormat { .. } | Stage::Unpack | Stage::Decolorize);
    let filters = stages.iter().take_while(changes_line).filter(|stage| matches!(stage, Stage::LineFilter(_)));
    let filters: Vec<Stage> = filters.cloned().collect();
    let required = required_text(&filters, |_| true);
    let pattern = alternatives(&required)?.iter().map(Literal::pattern).collect::<Vec<_>>().join("|");
    RegexBuilder::new(&pattern).build().ok()
}

/// A literal that ignores case: that of ASCII, or with `fold_case` that of all letters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Literal<'r> {
    text: &'r str,
    fold_case: bool,
}

impl Literal<'_> {
    fn pattern(&self) -> String {
        let flags = if self.fold_case { "i" } else { "i-u" };
        // Without Unicode only ASCII can be escaped as characters; other bytes have one case.
        match self.fold_case || self.text.is_ascii() {
            true => format!("(?{flags}:{})", regex::escape(self.text)),
            false => format!("(?i:{})", regex::escape(self.text)),
        }
    }
}

/// Literals of which a line holds at least one.
fn alternatives(requirement: &Requirement) -> Option<Vec<Literal<'_>>> {
    match requirement {
        Requirement::Anything => None,
        Requirement::Text { bytes, fold_case } => {
            let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() >= SHORTEST_LITERAL)?;
            Some(vec![Literal { text, fold_case: *fold_case }])
        }
        Requirement::Any(parts) => {
            let all = parts.iter().map(alternatives).collect::<Option<Vec<_>>>()?;
            let all: Vec<Literal<'_>> = all.into_iter().flatten().collect();
            (all.len() <= MOST_LITERALS).then_some(all)
        }
        // The part whose shortest literal is the longest.
        Requirement::All(parts) => {
            let shortest = |literals: &Vec<Literal<'_>>| literals.iter().map(|literal| literal.text.len()).min();
            parts.iter().filter_map(alternatives).max_by_key(shortest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_logql::ast::Expr;

    fn searched(stages: &str) -> Option<String> {
        let Ok(Expr::Log(log)) = tailwater_logql::parse(&format!(r#"{{a="b"}} {stages}"#)) else { panic!("`{stages}` parses") };
        searched_pattern(&log.stages).map(|pattern| pattern.as_str().to_owned())
    }

    #[test]
    fn pages_are_searched_for_what_filters_require() {
        for (stages, expected) in [
            ("|~ `(?i)error`", Some("(?i:error)")),
            ("|~ `abc|xyzz` != `d`", Some("(?i-u:abc)|(?i-u:xyzz)")),
            ("|~ `a.*longer` |~ `shor+t`", Some("(?i-u:longer)")),
            ("|~ `ab`", None),
            ("!= `abcd`", None),
            ("| line_format `{{.x}}` |~ `abcd`", None),
            ("| json |~ `a\\.bcd`", Some(r"(?i-u:a\.bcd)")),
        ] {
            assert_eq!(searched(stages).as_deref(), expected, "{stages}");
        }
    }

    #[test]
    fn an_index_is_asked_the_same() {
        let text = |bytes: &str| Requirement::Text { bytes: bytes.into(), fold_case: true };
        let folded = |bytes: &str| Probe::Literal { bytes: bytes.into(), fold_case: true };
        let nested = Requirement::All(vec![text("a"), Requirement::Any(vec![text("b"), Requirement::Anything])]);
        assert_eq!(probe(nested), Probe::All(vec![folded("a"), Probe::Any(vec![folded("b"), Probe::Always])]));
    }
}
