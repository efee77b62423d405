//! `| logfmt`: every pair of the line becomes a label; of equal names the first counts.
//!
//! Pairs without a value are left out unless `--keep-empty` is given. `--strict` ends at the first malformed pair
//! and says so; otherwise malformed pairs are passed over.

use super::extraction::{Extraction, ParserScratch, Progress, Verdict};
use super::logfmt_pairs::{LogfmtError, Pair, Pairs, unquote};
use crate::pipeline::entry::Text;
use crate::pipeline::keys::ROOT;

pub(crate) const LOGFMT_ERROR: &str = "LogfmtParserErr";

#[derive(Debug, Clone, Copy)]
pub(crate) struct Logfmt {
    pub(crate) strict: bool,
    pub(crate) keep_empty: bool,
}

impl Logfmt {
    pub(crate) fn run(self, mut extraction: Extraction<'_>, scratch: &mut ParserScratch) -> Verdict {
        if extraction.labels.has_all_needed() {
            return Verdict::Keep;
        }
        let ParserScratch { keys, unescaped, .. } = scratch;
        keys.start_line();
        let line = extraction.line;
        let reads_all = self.strict || self.keep_empty;
        let mut pairs = if reads_all { Pairs::new(line, unescaped) } else { Pairs::with_equals(line, unescaped) };
        loop {
            let mut known = None;
            let pair = match next_pair(&mut pairs, self.strict, |text| keys.guess_into(&mut known, ROOT, text, b'=')) {
                Ok(Some(pair)) => pair,
                Ok(None) => return Verdict::Keep,
                Err(error) => {
                    report(&mut extraction, &error);
                    return Verdict::Keep;
                }
            };
            if pair.value_start == pair.value_end && !self.keep_empty {
                continue;
            }
            let raw = &line[pair.key_start..pair.key_end];
            let key = known.unwrap_or_else(|| extraction.key(keys, ROOT, raw, raw));
            let Some(target) = extraction.target(keys, key) else {
                continue;
            };
            let text = value_text(&mut extraction, pair);
            if let Progress::Done(verdict) = extraction.extract(target, text) {
                return verdict;
            }
        }
    }
}

// As the pairs themselves.
#[inline(always)]
pub(crate) fn next_pair(
    pairs: &mut Pairs<'_>,
    strict: bool,
    known_key: impl FnMut(&[u8]) -> Option<usize>,
) -> Result<Option<Pair>, LogfmtError> {
    if strict { pairs.next_strict(known_key).transpose() } else { Ok(pairs.next_lenient(known_key)) }
}

pub(crate) fn report(extraction: &mut Extraction<'_>, error: &LogfmtError) {
    extraction.labels.set_parser_error(LOGFMT_ERROR, |details| details.push_str(&error.to_string()));
}

fn value_text(extraction: &mut Extraction<'_>, pair: Pair) -> Text {
    if !pair.is_escaped {
        return extraction.clean_range(pair.value_start, pair.value_end);
    }
    let line = extraction.line;
    extraction.labels.store(|buffer| {
        let start = buffer.len();
        let is_valid = unquote(&line[pair.value_start..pair.value_end], buffer);
        debug_assert!(is_valid, "the pair was checked when it was read");
        if !super::extraction::is_clean(&buffer[start..]) {
            let unclean = buffer.split_off(start);
            super::extraction::append_clean(&unclean, buffer);
        }
    })
}
