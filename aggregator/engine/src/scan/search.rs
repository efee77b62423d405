//! Line filters over a page: its contiguous text is searched once for what every wanted line holds, and only lines with a hit are
//! looked at again.

use memchr::memmem::Finder;
use regex::bytes::Regex;
use tailwater_logql::pipeline::LineMatcher;
use tailwater_storage::file::columns::LinePage;

use crate::scan::open_page::Run;
use crate::statistics::Counters;

/// The line filters that every wanted line passes, as it was stored.
#[derive(Debug, Clone, Default)]
pub(crate) struct LineSearch {
    filters: Vec<LineMatcher>,
    text: SearchedText,
}

/// What the text of a page is searched for.
#[derive(Debug, Clone, Default)]
enum SearchedText {
    /// Nothing that lines must hold is known: each is looked at.
    #[default]
    Unknown,
    /// Lines that hold it pass this filter.
    Literal { finder: Box<Finder<'static>>, filter: usize },
    /// Lines that pass the filters hold it.
    Pattern(Regex),
}

impl LineSearch {
    /// `pattern`: what every line that passes holds, where more than literals of the filters is known.
    pub(crate) fn new(filters: &[LineMatcher], pattern: Option<Regex>) -> Self {
        let literals = filters.iter().enumerate().filter_map(|(filter, matcher)| Some((filter, matcher.required_literal()?)));
        // The longest is the rarest, as a rule.
        let longest = literals.filter(|(_, literal)| !literal.is_empty()).max_by_key(|(_, literal)| literal.len());
        let text = match (longest, pattern) {
            (Some((filter, literal)), _) => SearchedText::Literal { finder: Box::new(Finder::new(literal).into_owned()), filter },
            (None, Some(pattern)) => SearchedText::Pattern(pattern),
            (None, None) => SearchedText::Unknown,
        };
        Self { filters: filters.to_vec(), text }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// What pages are searched for, for people.
    pub(crate) fn searched(&self) -> Option<String> {
        match &self.text {
            SearchedText::Unknown => None,
            SearchedText::Literal { finder, .. } => Some(format!("{:?}", String::from_utf8_lossy(finder.needle()))),
            SearchedText::Pattern(pattern) => Some(format!("/{pattern}/")),
        }
    }

    /// The rows of `runs` (ascending) whose lines pass; not all of them once the query is over.
    pub(crate) fn passing(&self, page: &LinePage, runs: Vec<Run>, counters: &Counters) -> Vec<Run> {
        if self.filters.is_empty() {
            return runs;
        }
        let mut hits = Vec::new();
        for neighbours in runs.chunk_by(|left, right| left.rows.end == right.rows.start) {
            self.search(page, neighbours, counters, &mut hits);
        }
        hits
    }

    /// Searches runs that follow each other without a gap.
    fn search(&self, page: &LinePage, runs: &[Run], counters: &Counters, hits: &mut Vec<Run>) {
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return };
        let (offsets, text) = (&page.offsets, page.text.as_slice());
        let end = offsets[last.rows.end] as usize;
        let mut streams = runs.iter().peekable();
        let mut row = first.rows.start;
        while row < last.rows.end && !counters.is_over() {
            let mut is_whole = false;
            if !matches!(self.text, SearchedText::Unknown) {
                let Some((at, length)) = self.find(&text[..end], offsets[row] as usize) else { return };
                // Empty lines at the place of a hit do not hold it.
                row += offsets[row..=last.rows.end].partition_point(|&offset| offset as usize <= at) - 1;
                is_whole = at + length <= offsets[row + 1] as usize;
            }
            if self.passes(page.line(row), is_whole) {
                while streams.next_if(|run| run.rows.end <= row).is_some() {}
                let stream = streams.peek().expect("the row is in one of the runs").stream;
                push(hits, stream, row);
            }
            row += 1;
        }
    }

    /// The next place (from `from` on) that may be in a line that passes, and how long what was found is.
    fn find(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        match &self.text {
            SearchedText::Unknown => None,
            SearchedText::Literal { finder, .. } => finder.find(&text[from..]).map(|at| (from + at, finder.needle().len())),
            SearchedText::Pattern(pattern) => pattern.find_at(text, from).map(|found| (found.start(), found.len())),
        }
    }

    /// Whether a line passes all filters. `is_hit`: what was searched for lies in it as a whole.
    fn passes(&self, line: &[u8], is_hit: bool) -> bool {
        let proved = match self.text {
            SearchedText::Literal { filter, .. } if is_hit => Some(filter),
            _ => None,
        };
        self.filters.iter().enumerate().all(|(number, filter)| proved == Some(number) || filter.matches(line))
    }
}

fn push(hits: &mut Vec<Run>, stream: u32, row: usize) {
    match hits.last_mut() {
        Some(last) if last.stream == stream && last.rows.end == row => last.rows.end += 1,
        _ => hits.push(Run { stream, rows: row..row + 1 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::buffer::OffsetBuffer;
    use proptest::prelude::*;
    use tailwater_logql::ast::Expr;
    use tailwater_logql::needed::NeededLabels;
    use tailwater_logql::pipeline::{Pipeline, PipelineOptions};

    fn filters(stages: &str) -> Vec<LineMatcher> {
        let Ok(Expr::Log(log)) = tailwater_logql::parse(&format!(r#"{{a="b"}} {stages}"#)) else { panic!("`{stages}` parses") };
        let pipeline = Pipeline::compile(&log.stages, None, &NeededLabels::All, &PipelineOptions::default()).expect("compiles");
        pipeline.line_filters().to_vec()
    }

    fn page(lead: &str, lines: &[String]) -> LinePage {
        let ends = lines.iter().scan(lead.len() as i32, |end, line| {
            *end += line.len() as i32;
            Some(*end)
        });
        let offsets: Vec<i32> = std::iter::once(lead.len() as i32).chain(ends).collect();
        LinePage { offsets: OffsetBuffer::new(offsets.into()), text: format!("{lead}{}ab", lines.concat()).into_bytes().into() }
    }

    proptest! {
        #[test]
        fn the_page_search_finds_what_a_search_of_each_line_finds(
            lines in proptest::collection::vec("[abB]{0,6}", 0..30),
            literals in proptest::collection::vec(("(\\|=|!=)", "[ab]{0,3}"), 0..3),
            pattern in proptest::option::of("[ab]{1,3}"),
            lead in "[ab]{0,4}",
            cuts in proptest::collection::vec(0usize..30, 0..6),
        ) {
            let mut stages: String = literals.iter().map(|(op, literal)| format!("{op} `{literal}` ")).collect();
            if let Some(pattern) = &pattern {
                stages.push_str(&format!("|~ `(?i){pattern}`"));
            }
            let (filters, page) = (filters(&stages), page(&lead, &lines));
            let searched = pattern.map(|pattern| Regex::new(&format!("(?i){pattern}")).expect("compiles"));
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(lines.len())).collect();
            cuts.sort_unstable();
            // Every other stretch between two cuts is a run; the others are left out, or another stream's.
            let runs: Vec<Run> = cuts
                .windows(2)
                .enumerate()
                .filter(|(number, cut)| cut[0] < cut[1] && number % 3 != 2)
                .map(|(number, cut)| Run { stream: number as u32, rows: cut[0]..cut[1] })
                .collect();
            let rows = |runs: &[Run]| runs.iter().flat_map(|run| run.rows.clone().map(|row| (run.stream, row))).collect::<Vec<_>>();
            let passes = |(_, row): &(u32, usize)| filters.iter().all(|filter| filter.matches(lines[*row].as_bytes()));
            let expected: Vec<(u32, usize)> = rows(&runs).into_iter().filter(passes).collect();
            prop_assert_eq!(rows(&LineSearch::new(&filters, searched).passing(&page, runs.clone(), &Counters::default())), expected.clone());
            prop_assert_eq!(rows(&LineSearch::new(&filters, None).passing(&page, runs, &Counters::default())), expected);
        }
    }
}
