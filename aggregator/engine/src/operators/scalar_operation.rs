//! `ScalarOperationExec`: an operator between every point and a number. Order and labels stay.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Float64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use datafusion_common::Result;
use datafusion_execution::SendableRecordBatchStream;
use futures::{StreamExt, stream};
use tailwater_logql::ast::BinaryOp;

use crate::batch::{self, POINT};
use crate::memory::OperatorMemory;
use crate::operators::arithmetic::apply;
use crate::operators::exec::{BatchStream, Operator};

#[derive(Debug)]
pub(crate) struct ScalarOperation {
    pub(crate) op: BinaryOp,
    pub(crate) returns_bool: bool,
    pub(crate) scalar: f64,
    pub(crate) is_scalar_left: bool,
}

impl ScalarOperation {
    /// The value of a point; `None` if a comparison drops it. Comparisons keep the point's own value.
    fn value(&self, value: f64) -> Option<f64> {
        let (left, right) = if self.is_scalar_left { (self.scalar, value) } else { (value, self.scalar) };
        apply(self.op, left, right).value(self.returns_bool, value)
    }

    fn map(&self, points: &RecordBatch) -> Result<RecordBatch> {
        let values: &Float64Array = batch::column(points, "value")?;
        let outcomes: Vec<Option<f64>> = values.values().iter().map(|value| self.value(*value)).collect();
        let kept: BooleanArray = outcomes.iter().map(|outcome| Some(outcome.is_some())).collect();
        let values = Float64Array::from_iter_values(outcomes.into_iter().map(Option::unwrap_or_default));
        let mut columns = points.columns()[..2].to_vec();
        columns.push(Arc::new(values) as Arc<dyn Array>);
        Ok(filter_record_batch(&RecordBatch::try_new(POINT.clone(), columns)?, &kept)?)
    }
}

impl fmt::Display for ScalarOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bool = if self.returns_bool { " bool" } else { "" };
        match self.is_scalar_left {
            true => write!(f, "{} {}{bool} point", self.scalar, self.op.name()),
            false => write!(f, "point {}{bool} {}", self.op.name(), self.scalar),
        }
    }
}

impl Operator for ScalarOperation {
    const NAME: &'static str = "ScalarOperationExec";

    fn run(self: Arc<Self>, inputs: Vec<SendableRecordBatchStream>, _memory: OperatorMemory) -> BatchStream {
        stream::iter(inputs).flatten().map(move |points| self.map(&points?)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_keep_the_value_of_the_point() {
        let value =
            |op, is_scalar_left, returns_bool, value| ScalarOperation { op, returns_bool, scalar: 20.0, is_scalar_left }.value(value);
        assert_eq!(value(BinaryOp::NotEqual, true, false, 50.0), Some(50.0));
        assert_eq!(value(BinaryOp::Less, true, false, 10.0), None);
        assert_eq!(value(BinaryOp::Less, true, true, 10.0), Some(0.0));
        assert_eq!(value(BinaryOp::Sub, true, false, 50.0), Some(-30.0));
        assert_eq!(value(BinaryOp::Sub, false, false, 50.0), Some(30.0));
    }
}
