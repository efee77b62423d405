//! `| unwrap label`: the sample's value from a label.
//!
//! An entry without the label gives no sample. A value that cannot be converted gives 0 and an error, which the
//! filters behind `unwrap` may drop.

use super::FilterOptions;
use super::label_filter::{LabelFilter, LabelFilterError, number};
use crate::ast::{self, Conversion};
use crate::literal::{parse_bytes_size, parse_go_duration};
use crate::pipeline::entry::{EntryLabels, Input};
use crate::pipeline::names::{NameId, PipelineNames};

const SAMPLE_EXTRACTION_ERROR: &str = "SampleExtractionErr";

#[derive(Debug, Clone)]
pub(crate) struct Unwrap {
    pub(crate) label: NameId,
    conversion: Option<Conversion>,
    post_filters: Vec<LabelFilter>,
}

impl Unwrap {
    pub(crate) fn new(
        unwrap: &ast::Unwrap,
        names: &mut PipelineNames,
        options: FilterOptions,
    ) -> Result<Unwrap, (usize, LabelFilterError)> {
        let mut post_filters = Vec::with_capacity(unwrap.post_filters.len());
        for (index, filter) in unwrap.post_filters.iter().enumerate() {
            post_filters.push(LabelFilter::new(filter, names, options).map_err(|error| (index, error))?);
        }
        Ok(Unwrap { label: names.intern(&unwrap.label), conversion: unwrap.conversion, post_filters })
    }

    /// The value; `None` if the entry gives no sample.
    pub(crate) fn run(&self, labels: &mut EntryLabels, input: Input<'_>) -> Option<f64> {
        let text = labels.get(self.label, input)?;
        let value = convert(&String::from_utf8_lossy(text), self.conversion);
        let value = value.unwrap_or_else(|reason| {
            labels.set_error(SAMPLE_EXTRACTION_ERROR, |details| details.push_str(&reason));
            0.0
        });
        self.post_filters.iter().all(|filter| filter.keeps(labels, input)).then_some(value)
    }
}

fn convert(text: &str, conversion: Option<Conversion>) -> Result<f64, String> {
    match conversion {
        None => number(text),
        Some(Conversion::Bytes) => parse_bytes_size(text).map(|bytes| bytes as f64).map_err(|error| error.to_string()),
        Some(Conversion::Duration | Conversion::DurationSeconds) => parse_go_duration(text).map(seconds).map_err(|error| error.to_string()),
    }
}

fn seconds(nanoseconds: i64) -> f64 {
    const SECOND: i64 = 1_000_000_000;
    (nanoseconds / SECOND) as f64 + (nanoseconds % SECOND) as f64 / SECOND as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_are_converted() {
        assert_eq!(convert("1e3", None), Ok(1000.0));
        assert_eq!(convert("1h2m3.5s", Some(Conversion::Duration)), Ok(3723.5));
        assert_eq!(convert("1.5KiB", Some(Conversion::Bytes)), Ok(1536.0));
        let error = convert("abc", None).unwrap_err();
        assert_eq!(error, r#"strconv.ParseFloat: parsing "abc": invalid syntax"#);
    }
}
