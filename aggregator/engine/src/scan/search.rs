//! Finds literals in the contiguous text of a page: one search a page, never one a row.

use memchr::memmem::Finder;

/// Literals every wanted line contains.
#[derive(Debug, Clone, Default)]
pub(crate) struct Needles {
    finders: Vec<Finder<'static>>,
}

impl Needles {
    pub(crate) fn new<'a>(literals: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let finders = literals.into_iter().filter(|literal| !literal.is_empty()).map(|literal| Finder::new(literal).into_owned());
        let mut finders: Vec<_> = finders.collect();
        // The longest is the rarest, as a rule: search the page for it, check the others on its hits.
        finders.sort_by_key(|finder| std::cmp::Reverse(finder.needle().len()));
        Self { finders }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.finders.is_empty()
    }

    pub(crate) fn literals(&self) -> impl Iterator<Item = &[u8]> {
        self.finders.iter().map(Finder::needle)
    }

    /// The rows, counted from the first of `offsets`, whose text holds every literal; ascending. `offsets` are rows + 1 ends in `text`.
    pub(crate) fn rows(&self, offsets: &[i32], text: &[u8]) -> Vec<usize> {
        let Some((first, others)) = self.finders.split_first() else { return (0..offsets.len() - 1).collect() };
        let mut rows = Vec::new();
        let (mut from, end) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
        while let Some(hit) = first.find(&text[from..end]) {
            let hit = from + hit;
            let row = offsets.partition_point(|&offset| offset as usize <= hit) - 1;
            let line_end = offsets[row + 1] as usize;
            if hit + first.needle().len() > line_end {
                // It runs over the end of its line: look for one that begins further on.
                from = hit + 1;
                continue;
            }
            let line = &text[offsets[row] as usize..line_end];
            if others.iter().all(|other| other.find(line).is_some()) {
                rows.push(row);
            }
            from = line_end;
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_page_search_finds_what_a_search_of_each_line_finds(
            lines in proptest::collection::vec("[ab]{0,6}", 0..30),
            literals in proptest::collection::vec("[ab]{0,3}", 0..3),
            lead in "[ab]{0,4}",
        ) {
            let mut offsets = vec![lead.len() as i32];
            offsets.extend(lines.iter().scan(lead.len() as i32, |end, line| { *end += line.len() as i32; Some(*end) }));
            let text = lead + &lines.concat() + "ab";
            let needles = Needles::new(literals.iter().map(|literal| literal.as_bytes()));
            let expected: Vec<usize> = lines
                .iter()
                .enumerate()
                .filter(|(_, line)| literals.iter().all(|literal| line.contains(literal.as_str())))
                .map(|(row, _)| row)
                .collect();
            prop_assert_eq!(needles.rows(&offsets, text.as_bytes()), expected);
        }
    }
}
