//! Merges the rows of one stream from several inputs, each entry once.
//!
//! Rows come out by stamp; of equal stamps in the order of the inputs. An entry that an earlier input holds is left out; inputs that are
//! only witnesses give no rows, but what they hold is left out of the others (and the result then relies on them).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::compact::error::CompactError;
use crate::compact::run::Run;
use crate::compact::source::{Source, Stretch};
use crate::entry::StreamId;
use crate::error::ReadError;
use crate::pairs::Pairs;
use crate::same_stamp::SameStamp;

/// Where merged rows go.
pub(crate) trait Sink {
    /// The rows that follow are of this stream. `bytes`: of its lines in all inputs, repeated ones included.
    fn begin_stream(&mut self, id: StreamId, labels: &Pairs, bytes: u64);

    /// Takes some rows of a run.
    fn append(&mut self, run: &Run, start: usize, length: usize) -> impl Future<Output = Result<(), CompactError>> + Send;
}

/// What a merge left out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) duplicates: u64,
    /// The same by input.
    pub(crate) duplicates_of: BTreeMap<usize, u64>,
    /// Witnesses on whose copy an entry was left out, by input.
    pub(crate) relied_on: BTreeSet<usize>,
}

/// One stream in one input.
pub(crate) struct Input<'a> {
    pub(crate) source: &'a mut Source,
    pub(crate) stretches: Vec<Stretch>,
    pub(crate) is_witness: bool,
}

struct Head<'a> {
    input: Input<'a>,
    /// Place among the inputs.
    order: usize,
    state: State,
    next_stretch: usize,
}

/// Where an input stands.
enum State {
    /// Its next stretch begins with this stamp; nothing of it is read before its turn, as inputs mostly follow one another in time.
    Unread {
        first: i64,
    },
    /// The next row of a run, which has it.
    At {
        run: Run,
        row: usize,
    },
    Ended,
}

impl Head<'_> {
    fn new(input: Input<'_>, order: usize) -> Head<'_> {
        let mut head = Head { input, order, state: State::Ended, next_stretch: 0 };
        head.begin_stretch();
        head
    }

    /// Goes to the next stretch.
    fn begin_stretch(&mut self) {
        let next = self.input.stretches.get(self.next_stretch);
        self.state = next.map_or(State::Ended, |stretch| State::Unread { first: stretch.first });
    }

    /// Reads the next rows of the stretch, if it has any.
    async fn read(&mut self) -> Result<(), ReadError> {
        match self.input.source.next(&mut self.input.stretches[self.next_stretch]).await? {
            Some(run) => self.state = State::At { run, row: 0 },
            None => {
                self.next_stretch += 1;
                self.begin_stretch();
            }
        }
        Ok(())
    }

    /// Goes on to the row that comes after those of `run` before `row`.
    async fn go_on(&mut self, run: Run, row: usize) -> Result<(), ReadError> {
        if row < run.rows() {
            self.state = State::At { run, row };
            return Ok(());
        }
        self.state = State::Ended;
        drop(run);
        self.read().await
    }

    fn stamp(&self) -> Option<i64> {
        match &self.state {
            State::Unread { first } => Some(*first),
            State::At { run, row } => Some(run.timestamps[*row]),
            State::Ended => None,
        }
    }
}

/// Rows with the stamp that came last.
#[derive(Default)]
struct Tie {
    stamp: i64,
    rows: SameStamp<TiedRow>,
}

/// A row, and which input it is of.
struct TiedRow {
    order: usize,
    run: Run,
    row: usize,
}

impl TiedRow {
    fn hash(&self) -> Result<u64, ReadError> {
        let seed = xxh3_64(self.run.metadata(self.row).as_bytes());
        Ok(xxh3_64_with_seed(self.run.lines()?.line(self.row), seed))
    }

    /// Rows of one input are told apart already.
    fn is_repeated_by(&self, other: &Self) -> Result<bool, ReadError> {
        Ok(self.order != other.order && self.run.is_same(self.row, &other.run, other.row)?)
    }
}

/// Merges `inputs`, which stand in the order in which they count.
pub(crate) async fn merge(inputs: Vec<Input<'_>>, sink: &mut impl Sink) -> Result<LeftOut, CompactError> {
    let mut heads: Vec<Head<'_>> = inputs.into_iter().enumerate().map(|(order, input)| Head::new(input, order)).collect();
    let (mut left_out, mut tie) = (LeftOut::default(), Tie::default());
    loop {
        let key = |head: &Head<'_>| head.stamp().map(|stamp| (stamp, head.order));
        let Some(first) = heads.iter().filter_map(key).min() else { return Ok(left_out) };
        let limit = heads.iter().filter_map(key).filter(|other| *other != first).min();
        let is_only = heads.len() == 1;
        let head = &mut heads[first.1];
        let State::At { run, row: from } = std::mem::replace(&mut head.state, State::Ended) else {
            head.read().await?;
            continue;
        };
        let rest = &run.timestamps[from..];
        let length = match limit {
            None => rest.len(),
            // Of equal stamps the earlier input's rows come first.
            Some((stamp, order)) if head.order < order => rest.partition_point(|&own| own <= stamp),
            Some((stamp, _)) => rest.partition_point(|&own| own < stamp),
        };
        // Rows that stood in another input with the same stamp.
        let mut start = from;
        let end = from + length;
        while !is_only && start < end && tie.meets(&run, start) {
            if tie.is_new(head.order, head.input.is_witness, &run, start, &mut left_out)? && !head.input.is_witness {
                sink.append(&run, start, 1).await?;
            }
            start += 1;
        }
        if start < end && !head.input.is_witness {
            sink.append(&run, start, end - start).await?;
        }
        if !is_only && start < end {
            tie.follow(head.order, &run, start..end);
        }
        head.go_on(run, end).await?;
    }
}

impl Tie {
    fn meets(&self, run: &Run, row: usize) -> bool {
        !self.rows.is_empty() && run.timestamps[row] == self.stamp
    }

    /// Whether no other input had the row; then it is held as well.
    fn is_new(&mut self, order: usize, is_witness: bool, run: &Run, row: usize, left_out: &mut LeftOut) -> Result<bool, ReadError> {
        let own = TiedRow { order, run: run.clone(), row };
        let Some(other) = self.rows.find(&own, TiedRow::hash, TiedRow::is_repeated_by)?.map(|same| same.order) else {
            self.rows.push(own);
            return Ok(true);
        };
        if !is_witness {
            left_out.duplicates += 1;
            *left_out.duplicates_of.entry(order).or_default() += 1;
            left_out.relied_on.insert(other);
        }
        Ok(false)
    }

    /// Holds the rows with the last of these stamps.
    fn follow(&mut self, order: usize, run: &Run, rows: Range<usize>) {
        self.stamp = run.timestamps[rows.end - 1];
        self.rows.clear();
        let tied = rows.start + run.timestamps[rows.clone()].partition_point(|&stamp| stamp < self.stamp);
        (tied..rows.end).for_each(|row| self.rows.push(TiedRow { order, run: run.clone(), row }));
    }
}
