//! The record batches that travel between operators.
//!
//! ```text
//! scanned   stream: u32, timestamp: ns, arrival: u64, line: binary?, metadata: dictionary<u32, binary>?
//! rendered  stream: u32, timestamp: ns, arrival: u64, line: binary, labels: binary, structured_metadata: binary, parsed: binary
//! sample    series: dictionary<u32, binary>, timestamp: ns, value: f64, [stream: u32, arrival: u64]
//! partial   series: dictionary<u32, binary>, first_step: u32, last_step: u32, record: words of 64 bits
//! point     series: dictionary<u32, binary>, step: u32, value: f64
//! ```
//! `stream` is an index into the plan's streams, which stand in a fixed order; `arrival` orders entries of one stream
//! with one stamp; label sets are written as [`Pairs`] bytes; lines are bytes, since stages may cut characters.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BinaryArray, DictionaryArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, UInt32Type};
use datafusion_common::{DataFusionError, Result};
use tailwater_logql::labels::LabelSet;
use tailwater_storage::pairs::{PairIter, Pairs};

pub(crate) const STREAM: &str = "stream";
pub(crate) const TIMESTAMP: &str = "timestamp";
pub(crate) const ARRIVAL: &str = "arrival";

/// A dictionary of byte strings.
pub(crate) type BinaryDictionary = DictionaryArray<UInt32Type>;

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn timestamp() -> Field {
    field(TIMESTAMP, DataType::Timestamp(TimeUnit::Nanosecond, None))
}

fn dictionary(name: &str) -> Field {
    field(name, DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Binary)))
}

/// What the scan emits: the line and the metadata only where something needs them.
pub(crate) fn scanned(lines: bool, metadata: bool) -> SchemaRef {
    let mut fields = vec![field(STREAM, DataType::UInt32), timestamp(), field(ARRIVAL, DataType::UInt64)];
    if lines {
        fields.push(field("line", DataType::Binary));
    }
    if metadata {
        fields.push(dictionary("metadata"));
    }
    Arc::new(Schema::new(fields))
}

pub(crate) static RENDERED: LazyLock<SchemaRef> = LazyLock::new(|| {
    let binary = |name| field(name, DataType::Binary);
    Arc::new(Schema::new(vec![
        field(STREAM, DataType::UInt32),
        timestamp(),
        field(ARRIVAL, DataType::UInt64),
        binary("line"),
        binary("labels"),
        binary("structured_metadata"),
        binary("parsed"),
    ]))
});

/// Samples of series; with their order among those of one stamp where that is needed.
pub(crate) fn sample(is_ordered: bool) -> SchemaRef {
    let mut fields = vec![dictionary("series"), timestamp(), field("value", DataType::Float64)];
    if is_ordered {
        fields.extend([field(STREAM, DataType::UInt32), field(ARRIVAL, DataType::UInt64)]);
    }
    Arc::new(Schema::new(fields))
}

/// Records of windows, of so many words of 64 bits.
pub(crate) fn partial(words: usize) -> SchemaRef {
    Arc::new(Schema::new(vec![
        dictionary("series"),
        field("first_step", DataType::UInt32),
        field("last_step", DataType::UInt32),
        field("record", DataType::FixedSizeBinary((words * size_of::<u64>()) as i32)),
    ]))
}

pub(crate) static POINT: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![dictionary("series"), field("step", DataType::UInt32), field("value", DataType::Float64)])));

/// A column by name, of the type it has by schema.
pub(crate) fn column<'a, A: 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a A> {
    batch
        .column_by_name(name)
        .and_then(|column| column.as_any().downcast_ref::<A>())
        .ok_or_else(|| DataFusionError::Internal(format!("a batch has no column `{name}` of the expected type")))
}

/// Keys and byte strings of a dictionary column.
pub(crate) fn dictionary_column<'a>(batch: &'a RecordBatch, name: &str) -> Result<(&'a UInt32Array, &'a BinaryArray)> {
    let dictionary: &BinaryDictionary = column(batch, name)?;
    let values = dictionary.values().as_any().downcast_ref::<BinaryArray>();
    let values = values.ok_or_else(|| DataFusionError::Internal(format!("column `{name}` is no dictionary of bytes")))?;
    Ok((dictionary.keys(), values))
}

/// A dictionary column of `keys` into `values`.
pub(crate) fn dictionary_of(keys: Vec<u32>, values: BinaryArray) -> Result<ArrayRef> {
    Ok(Arc::new(BinaryDictionary::try_new(UInt32Array::from(keys), Arc::new(values))?))
}

/// A label set as batches carry it.
pub(crate) fn encode_labels(labels: &LabelSet) -> Pairs {
    Pairs::from_pairs(labels.iter())
}

/// The label set behind the bytes of [`encode_labels`].
pub(crate) fn decode_labels(bytes: &[u8]) -> LabelSet {
    LabelSet::from_pairs(PairIter::over(bytes))
}
