//! Windows that slide over panes, for states that can be merged but not taken apart.
//!
//! Two stacks make a queue: states that entered are merged as they come; when the oldest has to leave and the front is used up, the
//! states so far are turned over into sums of suffixes. Each state is merged at most three times, however many windows hold it.

use std::collections::BTreeMap;

use crate::operators::windows::Steps;
use crate::operators::windows::panes::{PaneFunction, PaneState};

/// A state that windows are merged from, earlier ones first.
pub(crate) trait Mergeable: Clone {
    fn absorb(&mut self, later: &Self);
}

impl<S: PaneState + Clone> Mergeable for S {
    fn absorb(&mut self, later: &Self) {
        self.merge(later.clone());
    }
}

/// The value of a window is that of its panes merged, each brought into the form that merges.
pub(crate) struct Sliding<S, M, V> {
    arrange: fn(S) -> M,
    value: V,
}

impl<S, V: Fn(&S) -> f64> Sliding<S, S, V> {
    /// Over states as they are.
    pub(crate) fn new(value: V) -> Self {
        Self { arrange: |state| state, value }
    }
}

impl<S, M, V: Fn(&M) -> f64> Sliding<S, M, V> {
    pub(crate) fn arranged(arrange: fn(S) -> M, value: V) -> Self {
        Self { arrange, value }
    }
}

impl<S: PaneState, M: Mergeable + 'static, V: Fn(&M) -> f64 + Send + 'static> PaneFunction for Sliding<S, M, V> {
    type State = S;

    fn points(&self, panes: BTreeMap<Steps, S>, each: &mut dyn FnMut(u32, f64)) {
        let arranged = panes.into_iter().map(|(steps, state)| (steps, (self.arrange)(state)));
        slide(arranged, |step, merged| each(step, (self.value)(merged)));
    }
}

/// Calls `each` with every step that has panes, ascending, and the merged state of its panes. `panes` come in the order of time: neither
/// first nor last steps descend.
pub(crate) fn slide<S: Mergeable>(panes: impl IntoIterator<Item = (Steps, S)>, mut each: impl FnMut(u32, &S)) {
    let mut coming = panes.into_iter().peekable();
    let mut window = Window { front: Vec::new(), back: Vec::new(), merged: None };
    let mut step = 0;
    loop {
        while let Some((steps, state)) = coming.next_if(|((first, _), _)| *first <= step) {
            window.push(steps.1, state);
        }
        window.leave(step);
        match (window.merged(), coming.peek()) {
            (Some(merged), _) => each(step, &merged),
            // Nothing until the next pane.
            (None, Some(((first, _), _))) => {
                step = *first;
                continue;
            }
            (None, None) => return,
        }
        step += 1;
    }
}

/// The panes of a window, each with its last step.
struct Window<S> {
    /// The oldest panes, youngest first; each state is merged with those of all younger ones in front.
    front: Vec<(u32, S)>,
    /// Younger panes, oldest first.
    back: Vec<(u32, S)>,
    /// The states of `back` merged.
    merged: Option<S>,
}

impl<S: Mergeable> Window<S> {
    fn push(&mut self, last: u32, state: S) {
        match &mut self.merged {
            Some(merged) => merged.absorb(&state),
            merged => *merged = Some(state.clone()),
        }
        self.back.push((last, state));
    }

    /// Drops the panes that ended before `step`.
    fn leave(&mut self, step: u32) {
        loop {
            if self.front.is_empty() {
                self.turn_over();
            }
            match self.front.last() {
                Some((last, _)) if *last < step => drop(self.front.pop()),
                _ => return,
            }
        }
    }

    fn turn_over(&mut self) {
        while let Some((last, mut state)) = self.back.pop() {
            if let Some((_, younger)) = self.front.last() {
                state.absorb(younger);
            }
            self.front.push((last, state));
        }
        self.merged = None;
    }

    fn merged(&self) -> Option<S> {
        match (self.front.last(), &self.merged) {
            (Some((_, front)), Some(back)) => {
                let mut merged = front.clone();
                merged.absorb(back);
                Some(merged)
            }
            (Some((_, front)), None) => Some(front.clone()),
            (None, back) => back.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Merging is joining texts: order shows.
    #[derive(Debug, Clone, PartialEq)]
    struct Text(String);

    impl Mergeable for Text {
        fn absorb(&mut self, later: &Self) {
            self.0.push_str(&later.0);
        }
    }

    proptest! {
        #[test]
        fn windows_hold_their_panes_in_order(lengths in proptest::collection::vec((0u32..4, 0u32..4), 0..30)) {
            let mut panes = Vec::new();
            let (mut first, mut last) = (0, 0);
            for (number, (more, longer)) in lengths.into_iter().enumerate() {
                first += more;
                last = (last + longer).max(first);
                panes.push(((first, last), Text(format!("{number},"))));
            }
            let text_at = |step: u32| -> String {
                panes.iter().filter(|((first, last), _)| (*first..=*last).contains(&step)).map(|(_, text)| text.0.as_str()).collect()
            };
            let expected: Vec<(u32, String)> = (0..=last).map(|step| (step, text_at(step))).filter(|(_, text)| !text.is_empty()).collect();
            let mut found = Vec::new();
            slide(panes.clone(), |step, text| found.push((step, text.0.clone())));
            prop_assert_eq!(found, expected);
        }
    }
}
