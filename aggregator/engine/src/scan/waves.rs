//! How many pages are looked at before it is asked again whether more are needed.
//!
//! Few at first, as entries are mostly among the first pages; then more and more. While nothing is found the next wave need not wait for the
//! end of the one before it.

use crate::scan::order::{Order, Top};
use crate::scan::pages::SelectedPage;

/// Pages of the first wave; each further one is twice as long, up to the longest.
const FIRST: usize = 8;
const LONGEST: usize = 128;

/// Pages that have not been looked at, those first that may hold the first entries.
#[derive(Debug)]
pub(crate) struct Waves<'p> {
    rest: &'p [SelectedPage],
    length: usize,
    /// Entries found since the last wave began.
    found: usize,
}

impl<'p> Waves<'p> {
    pub(crate) fn new(pages: &'p [SelectedPage]) -> Self {
        Self { rest: pages, length: FIRST, found: 0 }
    }

    pub(crate) fn note(&mut self, found: usize) {
        self.found += found;
    }

    pub(crate) fn found_nothing(&self) -> bool {
        self.found == 0
    }

    /// The pages to look at next; none if no page may hold an entry that comes before the last of `top`.
    pub(crate) fn next(&mut self, order: &Order, top: &Top) -> Vec<SelectedPage> {
        let length = self.rest.iter().take(self.length).take_while(|page| top.admits(order.first_of(page))).count();
        let (wave, rest) = self.rest.split_at(length);
        self.rest = rest;
        self.length = (self.length * 2).min(LONGEST);
        self.found = 0;
        wave.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Direction;
    use crate::scan::pages::Piece;

    #[test]
    fn waves_grow_and_end_where_no_page_can_hold_an_earlier_entry() {
        let page = |newest: i64| {
            let piece = Piece { stream: 0, rows: 0..1, oldest: newest, newest, is_mixed: false };
            SelectedPage { part: 0, page: newest as usize, pieces: vec![piece], bytes: 1 }
        };
        let pages: Vec<SelectedPage> = (0..400).rev().map(page).collect();
        let (order, mut top, mut waves) = (Order(Direction::Backward), Top::new(1), Waves::new(&pages));
        assert_eq!([(); 5].map(|()| waves.next(&order, &top).len()), [8, 16, 32, 64, 128]);
        assert!(waves.found_nothing());
        waves.note(1);
        assert!(!waves.found_nothing());
        // 248 pages have been looked at: 151 is the newest left.
        top.add(order.key(150, 0, 0));
        let wave: Vec<usize> = waves.next(&order, &top).iter().map(|page| page.page).collect();
        assert_eq!(wave, [151, 150]);
        assert!(waves.found_nothing() && waves.next(&order, &top).is_empty());
    }
}
