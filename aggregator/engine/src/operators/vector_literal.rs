//! `VectorLiteralExec`: `vector(n)`, one sample without labels at every step.

use std::fmt;
use std::sync::Arc;

use datafusion_execution::SendableRecordBatchStream;
use futures::{StreamExt, stream};
use tailwater_storage::pairs::Pairs;

use crate::memory::OperatorMemory;
use crate::operators::exec::{BatchStream, Operator};
use crate::operators::points::PointRows;
use crate::operators::series::SeriesIndex;

#[derive(Debug)]
pub(crate) struct VectorLiteral {
    pub(crate) value: f64,
    /// How many there are.
    pub(crate) steps: u32,
}

impl fmt::Display for VectorLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value)
    }
}

impl Operator for VectorLiteral {
    const NAME: &'static str = "VectorLiteralExec";

    fn run(self: Arc<Self>, _inputs: Vec<SendableRecordBatchStream>, _memory: OperatorMemory) -> BatchStream {
        let mut index = SeriesIndex::default();
        let (series, _) = index.number(Pairs::default().as_bytes());
        let mut rows = PointRows::default();
        (0..self.steps).for_each(|step| rows.push(series, step, self.value));
        stream::iter([rows.into_batch(&index)]).boxed()
    }
}
