//! `VariantExec`: marks the series of one of several variants, or drops them all, with a warning, if there are too many.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{BinaryArray, RecordBatch};
use datafusion_common::Result;
use datafusion_execution::SendableRecordBatchStream;
use futures::{StreamExt, stream};
use tailwater_storage::pairs::{PairIter, Pairs};

use crate::batch::{self, POINT};
use crate::memory::OperatorMemory;
use crate::operators::exec::{BatchStream, Operator, deferred};

/// The label that tells variants apart.
const VARIANT_LABEL: &str = "__variant__";

/// What a query has to say besides its answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn add(&self, warning: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) number: usize,
    pub(crate) max_series: usize,
    pub(crate) warnings: Warnings,
}

impl Variant {
    fn mark(&self, points: &RecordBatch) -> Result<RecordBatch> {
        let (keys, labels) = batch::dictionary_column(points, "series")?;
        let number = self.number.to_string();
        let marked = labels.iter().flatten().map(|labels| {
            let others = PairIter::over(labels).filter(|(name, _)| *name != VARIANT_LABEL);
            Pairs::from_pairs(others.chain([(VARIANT_LABEL, number.as_str())])).as_bytes().to_vec()
        });
        let marked: Vec<Vec<u8>> = marked.collect();
        let mut columns = points.columns().to_vec();
        columns[0] = batch::dictionary_of(keys.values().to_vec(), BinaryArray::from_iter_values(marked))?;
        Ok(RecordBatch::try_new(POINT.clone(), columns)?)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)
    }
}

impl Operator for Variant {
    const NAME: &'static str = "VariantExec";

    fn run(self: Arc<Self>, inputs: Vec<SendableRecordBatchStream>, memory: OperatorMemory) -> BatchStream {
        deferred(async move {
            let mut series: HashSet<Vec<u8>> = HashSet::new();
            let mut batches = Vec::new();
            for mut input in inputs {
                while let Some(points) = input.next().await.transpose()? {
                    let (_, labels) = batch::dictionary_column(&points, "series")?;
                    series.extend(labels.iter().flatten().map(<[u8]>::to_vec));
                    if series.len() > self.max_series {
                        let (limit, number) = (self.max_series, self.number);
                        self.warnings.add(format!("maximum of series ({limit}) reached for variant ({number})"));
                        return Ok(stream::empty().boxed());
                    }
                    let marked = self.mark(&points)?;
                    memory.try_grow(marked.get_array_memory_size())?;
                    batches.push(Ok(marked));
                }
            }
            Ok(stream::iter(batches).boxed())
        })
    }
}
