//! Panes: what is known of the samples that share their steps.
//!
//! Windows of a grid begin and end at regular times, so that samples between two such times are in the same windows. A series has at most
//! `2 * steps` panes, ordered in time by (first step, last step).

use std::collections::BTreeMap;

use crate::operators::windows::{Sample, Steps, WindowStore};

/// What is kept of the samples of a pane; states of one pane may be merged in any order.
pub(crate) trait PaneState: Sized + Send + 'static {
    /// Words of a record; a state is written as one or several.
    const WORDS: usize;
    /// Bytes that a further sample takes.
    const BYTES_PER_SAMPLE: usize = 0;

    fn of(sample: Sample) -> Self;
    fn merge(&mut self, other: Self);
    fn write(&self, words: &mut Vec<u64>);
    fn read(record: &[u64]) -> Self;

    fn add(&mut self, sample: Sample) {
        self.merge(Self::of(sample));
    }
}

/// From the panes of a series to its values.
pub(crate) trait PaneFunction: Send + 'static {
    type State: PaneState;

    /// Calls `each` with the steps that have samples, ascending, and their values.
    fn points(&self, panes: BTreeMap<Steps, Self::State>, each: &mut dyn FnMut(u32, f64));
}

/// The panes of one series. Samples mostly come in order: the pane of the last one is kept at hand.
struct SeriesPanes<S> {
    open: Option<(Steps, S)>,
    closed: BTreeMap<Steps, S>,
}

impl<S> Default for SeriesPanes<S> {
    fn default() -> Self {
        Self { open: None, closed: BTreeMap::new() }
    }
}

impl<S: PaneState> SeriesPanes<S> {
    /// Bytes of a pane in the tree, whose nodes are half full at worst.
    const PANE_BYTES: usize = 2 * size_of::<(Steps, S)>();

    fn add(&mut self, steps: Steps, sample: Sample) -> usize {
        match &mut self.open {
            Some((open, state)) if *open == steps => {
                state.add(sample);
                S::BYTES_PER_SAMPLE
            }
            _ => self.merge(steps, S::of(sample)),
        }
    }

    fn merge(&mut self, steps: Steps, state: S) -> usize {
        match &mut self.open {
            Some((open, known)) if *open == steps => {
                known.merge(state);
                return S::BYTES_PER_SAMPLE;
            }
            open => {
                if let Some((steps, state)) = open.replace((steps, state)) {
                    self.close(steps, state);
                }
            }
        }
        Self::PANE_BYTES + S::BYTES_PER_SAMPLE
    }

    fn close(&mut self, steps: Steps, state: S) {
        match self.closed.get_mut(&steps) {
            Some(known) => known.merge(state),
            None => drop(self.closed.insert(steps, state)),
        }
    }

    fn into_panes(mut self) -> BTreeMap<Steps, S> {
        if let Some((steps, state)) = self.open.take() {
            self.close(steps, state);
        }
        self.closed
    }
}

/// A store of panes.
pub(crate) struct PaneStore<F: PaneFunction> {
    function: F,
    series: Vec<SeriesPanes<F::State>>,
}

impl<F: PaneFunction> PaneStore<F> {
    pub(crate) fn new(function: F) -> Self {
        Self { function, series: Vec::new() }
    }

    fn series(&mut self, number: u32) -> &mut SeriesPanes<F::State> {
        let number = number as usize;
        if self.series.len() <= number {
            self.series.resize_with(number + 1, SeriesPanes::default);
        }
        &mut self.series[number]
    }

    fn take(&mut self, series: u32) -> BTreeMap<Steps, F::State> {
        std::mem::take(self.series(series)).into_panes()
    }
}

impl<F: PaneFunction> WindowStore for PaneStore<F> {
    fn words(&self) -> usize {
        F::State::WORDS
    }

    fn add(&mut self, series: u32, steps: Steps, sample: Sample) -> usize {
        self.series(series).add(steps, sample)
    }

    fn merge(&mut self, series: u32, steps: Steps, record: &[u64]) -> usize {
        self.series(series).merge(steps, F::State::read(record))
    }

    fn records(&mut self, series: u32, each: &mut dyn FnMut(Steps, &[u64])) {
        let mut words = Vec::new();
        for (steps, state) in self.take(series) {
            words.clear();
            state.write(&mut words);
            words.chunks_exact(F::State::WORDS).for_each(|record| each(steps, record));
        }
    }

    fn points(&mut self, series: u32, each: &mut dyn FnMut(u32, f64)) {
        let panes = self.take(series);
        self.function.points(panes, each);
    }
}
