//! Numbers for label sets: the same set has the same number within one operator, and dictionaries of just the sets a batch uses.

use std::collections::HashMap;

use arrow::array::{ArrayRef, BinaryArray};
use datafusion_common::Result;
use tailwater_storage::pairs::{PairIter, Pairs};

use crate::batch;

/// Memory of a label set besides its bytes, which are held twice.
const SET_OVERHEAD: usize = 96;

/// Label sets (as encoded bytes) in order of first sight.
#[derive(Debug, Default)]
pub(crate) struct SeriesIndex {
    numbers: HashMap<Box<[u8]>, u32>,
    labels: Vec<Box<[u8]>>,
    bytes: usize,
}

impl SeriesIndex {
    /// The number of a label set, and whether it is new.
    pub(crate) fn number(&mut self, labels: &[u8]) -> (u32, bool) {
        if let Some(&number) = self.numbers.get(labels) {
            return (number, false);
        }
        let number = u32::try_from(self.labels.len()).expect("memory ends before 2^32 label sets");
        self.numbers.insert(labels.into(), number);
        self.labels.push(labels.into());
        self.bytes += 2 * labels.len() + SET_OVERHEAD;
        (number, true)
    }

    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn labels(&self, number: u32) -> &[u8] {
        &self.labels[number as usize]
    }

    /// How many label sets there are.
    pub(crate) fn len(&self) -> u32 {
        self.labels.len() as u32
    }

    /// By number.
    pub(crate) fn into_label_sets(self) -> Vec<Box<[u8]>> {
        self.labels
    }

    /// The same numbers for the label sets without labels that have no value. Several numbers may have one label set.
    pub(crate) fn without_empty_values(&self) -> Self {
        let stripped = |labels: &[u8]| Pairs::from_pairs(PairIter::over(labels).filter(|(_, value)| !value.is_empty()));
        Self { numbers: HashMap::new(), labels: self.labels.iter().map(|labels| stripped(labels).as_bytes().into()).collect(), bytes: 0 }
    }

    /// A dictionary column for rows of the given series.
    pub(crate) fn column(&self, series: &[u32]) -> Result<ArrayRef> {
        let mut renumbered: HashMap<u32, u32> = HashMap::new();
        let mut used: Vec<&[u8]> = Vec::new();
        let mut last = None;
        let mut keys = Vec::with_capacity(series.len());
        for &number in series {
            let key = match last {
                Some((same, key)) if same == number => key,
                _ => *renumbered.entry(number).or_insert_with(|| {
                    used.push(self.labels(number));
                    used.len() as u32 - 1
                }),
            };
            last = Some((number, key));
            keys.push(key);
        }
        batch::dictionary_of(keys, BinaryArray::from_vec(used))
    }
}
