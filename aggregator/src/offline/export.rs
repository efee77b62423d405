//! `export`: lines of a tenant as a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use tailwater_logql::matcher::StreamMatcher;
use tailwater_logql::parser::parse_any_selector;
use tailwater_storage::transfer::{ExportSelection, JsonLinesWriter, ParquetWriter, RowWriter, StreamPredicate, export as write_rows};

use crate::offline::arguments::Format;
use crate::offline::opened::Opened;
use crate::offline::progress::{Progress, mebibytes};
use crate::offline::{ExportOptions, OfflineError};

const STANDARD_OUTPUT: &str = "-";

/// Writes what queries would show, each entry once, and says on standard error what was written.
pub async fn export(options: &ExportOptions) -> Result<(), OfflineError> {
    let first = options.from.as_deref().map_or(Ok(i64::MIN), |text| stamp("from", text))?;
    let end = options.to.as_deref().map(|text| stamp("to", text)).transpose()?;
    let streams = predicate(options.selector.as_deref())?;
    let opened = Opened::open(&options.source, true).await?;
    let tenant = opened.tenant(options.tenant.as_deref());
    let catalog = opened.catalog().await?;
    let now = opened.clock.now();
    let erasure = opened.rules(&catalog)?.hidden(&tenant, now);
    let last = end.map_or(i64::MAX, |end| end.saturating_sub(1));
    let output = output(&options.out)?;
    let mut writer: Box<dyn RowWriter> = match options.format {
        Format::JsonLines => Box::new(JsonLinesWriter::new(output)),
        Format::Parquet => Box::new(ParquetWriter::new(output, tenant.clone(), first.max(0), now)?),
    };
    let selection = ExportSelection { tenant, first, last, streams, erasure };
    let progress = Progress::new("exporting");
    let exported = write_rows(&catalog, &selection, writer.as_mut(), |at| {
        let detail = || {
            let (entries, bytes) = (at.exported.entries, mebibytes(at.exported.line_bytes));
            format!("{} of {} days, {entries} entries, {bytes}", at.days_done, at.days_total)
        };
        progress.set(at.days_done, Some(at.days_total), detail);
    });
    let exported = exported.await?;
    drop(progress);
    let bytes = mebibytes(exported.line_bytes);
    eprintln!("exported {} entries with {bytes} of lines; {} repetitions were left out", exported.entries, exported.duplicates);
    Ok(())
}

/// A new file: what is there is not overwritten.
fn output(path: &Path) -> Result<Box<dyn Write + Send>, OfflineError> {
    if path.as_os_str() == STANDARD_OUTPUT {
        return Ok(Box::new(BufWriter::new(io::stdout())));
    }
    let file = File::options().write(true).create_new(true).open(path);
    let file = file.map_err(|source| OfflineError::File { path: path.display().to_string(), source })?;
    Ok(Box::new(BufWriter::new(file)))
}

fn predicate(selector: Option<&str>) -> Result<StreamPredicate, OfflineError> {
    let Some(text) = selector else { return Ok(Arc::new(|_| true)) };
    let refused = |reason: String| OfflineError::Selector { text: text.to_owned(), reason };
    let selector = parse_any_selector(text).map_err(|error| refused(error.to_string()))?;
    let matchers: Result<Vec<StreamMatcher>, _> = selector.matchers.iter().map(StreamMatcher::new).collect();
    let matchers = matchers.map_err(|error| refused(error.to_string()))?;
    Ok(Arc::new(move |labels| StreamMatcher::all_match(&matchers, |name| labels.get(name))))
}

/// Nanoseconds since the epoch, of a text of the command line.
pub(super) fn stamp(flag: &'static str, text: &str) -> Result<i64, OfflineError> {
    if let Ok(nanoseconds) = text.parse() {
        return Ok(nanoseconds);
    }
    let refused = |reason: &str| OfflineError::Time { flag, text: text.to_owned(), reason: reason.to_owned() };
    let stamp: jiff::Timestamp = text.parse().map_err(|_| refused("neither an RFC 3339 time nor nanoseconds since the epoch"))?;
    i64::try_from(stamp.as_nanosecond()).map_err(|_| refused("not between the years 1677 and 2262"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_storage::pairs::Pairs;

    #[test]
    fn selectors_choose_streams() {
        let labels = Pairs::from_pairs([("app", "cart"), ("pod", "p-1")]);
        for (selector, expected) in [
            (None, true),
            (Some("{}"), true),
            (Some(r#"{app="cart"}"#), true),
            (Some(r#"{app="cart", pod!~"p-.*"}"#), false),
            (Some(r#"{gone=""}"#), true),
            (Some(r#"{app=~"ca"}"#), false),
        ] {
            assert_eq!(predicate(selector).expect("a selector")(&labels), expected, "{selector:?}");
        }
        assert!(predicate(Some("app")).is_err());
        assert!(predicate(Some(r#"{app=~"("}"#)).is_err());
    }

    #[test]
    fn times_are_rfc_3339_or_nanoseconds() {
        assert_eq!(stamp("from", "2026-01-01T00:00:00Z").expect("a time"), 1_767_225_600_000_000_000);
        assert_eq!(stamp("to", "-5").expect("a time"), -5);
        let refused = stamp("to", "yesterday").expect_err("no time").to_string();
        assert_eq!(refused, "`yesterday` given to --to is neither an RFC 3339 time nor nanoseconds since the epoch");
    }

    #[test]
    fn a_file_that_is_there_is_not_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lines");
        std::fs::write(&path, "kept").expect("writes");
        assert!(matches!(output(&path), Err(OfflineError::File { .. })));
        assert_eq!(std::fs::read_to_string(&path).expect("reads"), "kept");
    }
}
