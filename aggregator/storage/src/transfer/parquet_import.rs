//! Parquet in: files of ours, verified whole before the first row is taken, and any other with a stamp and a line.
//!
//! Taken are the columns `ts` or `timestamp` (a timestamp of any unit, nanoseconds as a number, or text), `line`, `labels` and `metadata` (maps or
//! structs of texts), `namespace_uid` (metadata), `stream_id` and `tenant` of our own files; every other column of texts is a label.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::{Type, TypePtr};

use crate::entry::{StreamId, TenantId};
use crate::error::FileError;
use crate::file::parts;
use crate::file::read::{StoredPage, TAIL_GUESS, Tail, parse_tail};
use crate::file::schema::NAMESPACE_UID;
use crate::pairs::Pairs;
use crate::transfer::error::ImportError;
use crate::transfer::pushed_labels::pushed_labels;
use crate::transfer::record::{ImportedEntry, Record, Records, labels_of, stamp_of_text};

/// Whether bytes begin as a Parquet file does.
pub fn is_parquet(beginning: &[u8]) -> bool {
    beginning.starts_with(b"PAR1")
}

/// Name and value.
type Pair = (String, String);

/// What a column is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Nanoseconds in one.
    Stamp(i64),
    Line,
    Labels,
    Metadata,
    NamespaceUid,
    StreamId,
    Tenant,
    Label,
}

/// Reads the rows of a file.
pub struct ParquetRows {
    rows: RowIter<'static>,
    roles: Vec<Role>,
    tenant: TenantId,
    total: u64,
    done: u64,
    /// The labels that came last, as stored, and as pushed: rows of a stream stand side by side.
    last_stream: Option<(StreamId, Pairs, Pairs)>,
}

impl ParquetRows {
    /// `tenant`: whose rows are taken of a file that holds several tenants'.
    pub fn open(file: File, tenant: TenantId) -> Result<Self, ImportError> {
        let size = file.metadata()?.len();
        let own = file.try_clone()?;
        let reader = SerializedFileReader::new(file)?;
        let metadata = reader.metadata().file_metadata();
        let total = u64::try_from(metadata.num_rows()).unwrap_or(0);
        let pairs = metadata.key_value_metadata();
        if total > 0 && pairs.is_some_and(|pairs| pairs.iter().any(|pair| pair.key == parts::FORMAT)) {
            verify(&own, size)?;
        }
        let (projection, roles) = columns(metadata.schema_descr().root_schema())?;
        let rows = RowIter::from_file_into(Box::new(reader)).project(Some(projection))?;
        Ok(Self { rows, roles, tenant, total, done: 0, last_stream: None })
    }

    fn record(&mut self, row: Row) -> Result<Record, String> {
        let (mut timestamp, mut line, mut stream) = (None, None, None);
        let (mut labels, mut metadata): (Vec<Pair>, Vec<Pair>) = (Vec::new(), Vec::new());
        for ((name, field), role) in row.into_columns().into_iter().zip(&self.roles) {
            match role {
                Role::Stamp(unit) => timestamp = stamp(&field, *unit)?,
                Role::Line => line = text(&field),
                Role::Labels => labels.extend(pairs(&name, &field)?),
                Role::Metadata => metadata.extend(pairs(&name, &field)?),
                Role::NamespaceUid => metadata.extend(text(&field).filter(|uid| !uid.is_empty()).map(|uid| (name, uid))),
                Role::StreamId => stream = stream_id(&field),
                Role::Tenant => {
                    if text(&field).is_some_and(|tenant| tenant != self.tenant.as_str()) {
                        return Ok(Record::OtherTenant);
                    }
                }
                Role::Label => labels.extend(text(&field).map(|value| (name, value))),
            }
        }
        let labels = self.labels(stream, labels)?;
        let timestamp = timestamp.ok_or("it has no stamp")?;
        let line = line.ok_or("it has no line")?;
        Ok(Record::Entry(ImportedEntry { timestamp, labels, metadata: Pairs::from_pairs(metadata), line }))
    }

    /// Labels as pushed.
    fn labels(&mut self, stream: Option<StreamId>, labels: Vec<Pair>) -> Result<Pairs, String> {
        let stored = labels_of(labels)?;
        let Some(id) = stream else { return Ok(stored) };
        if let Some((last, of, pushed)) = &self.last_stream
            && *last == id
            && *of == stored
        {
            return Ok(pushed.clone());
        }
        let pushed = pushed_labels(id, &stored);
        self.last_stream = Some((id, stored, pushed.clone()));
        Ok(pushed)
    }
}

impl Records for ParquetRows {
    fn next(&mut self) -> Option<Result<Record, ImportError>> {
        let row = match self.rows.next()? {
            Ok(row) => row,
            Err(error) => return Some(Err(error.into())),
        };
        self.done += 1;
        Some(Ok(self.record(row).unwrap_or_else(Record::Refused)))
    }

    fn place(&self) -> u64 {
        self.done
    }

    fn done(&self) -> u64 {
        self.done
    }

    fn total(&self) -> Option<u64> {
        Some(self.total)
    }
}

/// Checks every page of a file of ours: its columns alone carry no sums that the library looks at.
fn verify(file: &File, size: u64) -> Result<(), ImportError> {
    let read = |offset: u64, length: u64| -> Result<Bytes, ImportError> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.into())
    };
    let mut length = TAIL_GUESS.min(size);
    let parsed = loop {
        match parse_tail(&read(size - length, length)?, size)? {
            Tail::Footer(parsed) => break parsed,
            Tail::NeedBytes(needed) => length = needed,
        }
    };
    for StoredPage { offset, length, crc: stored } in parsed.every_page {
        let computed = crc32c::crc32c(&read(offset, u64::from(length))?);
        if computed != stored {
            return Err(FileError::Checksum { part: format!("the page at byte {offset}"), stored, computed }.into());
        }
    }
    Ok(())
}

/// The columns that are read, and what they are taken for.
fn columns(schema: &Type) -> Result<(Type, Vec<Role>), ImportError> {
    let (mut fields, mut roles): (Vec<TypePtr>, Vec<Role>) = (Vec::new(), Vec::new());
    for field in schema.get_fields() {
        if let Some(role) = role(field) {
            fields.push(Arc::clone(field));
            roles.push(role);
        }
    }
    let has = |wanted: fn(&Role) -> bool| roles.iter().any(wanted);
    let found = || schema.get_fields().iter().map(|field| format!("`{}`", field.name())).collect::<Vec<_>>().join(", ");
    if !has(|role| matches!(role, Role::Stamp(_))) {
        return Err(ImportError::NoColumn { wanted: "ts", found: found() });
    }
    if !has(|role| *role == Role::Line) {
        return Err(ImportError::NoColumn { wanted: "line", found: found() });
    }
    Ok((Type::group_type_builder(schema.name()).with_fields(fields).build()?, roles))
}

fn role(field: &Type) -> Option<Role> {
    if field.get_basic_info().has_repetition() && field.get_basic_info().repetition() == Repetition::REPEATED {
        return None;
    }
    if field.is_group() {
        return match field.name() {
            "labels" => Some(Role::Labels),
            "metadata" | "structured_metadata" => Some(Role::Metadata),
            _ => None,
        };
    }
    let physical = field.get_physical_type();
    match (field.name(), physical) {
        ("ts" | "timestamp", PhysicalType::INT64 | PhysicalType::INT96 | PhysicalType::BYTE_ARRAY) => Some(Role::Stamp(unit(field))),
        ("stream_id", PhysicalType::INT64) => Some(Role::StreamId),
        ("line", PhysicalType::BYTE_ARRAY) => Some(Role::Line),
        ("tenant", PhysicalType::BYTE_ARRAY) => Some(Role::Tenant),
        (NAMESPACE_UID, PhysicalType::BYTE_ARRAY) => Some(Role::NamespaceUid),
        (_, PhysicalType::BYTE_ARRAY) => Some(Role::Label),
        _ => None,
    }
}

/// Nanoseconds in one of a plain number.
fn unit(field: &Type) -> i64 {
    match field.get_basic_info().logical_type_ref() {
        Some(LogicalType::Timestamp(timestamp)) if timestamp.unit == TimeUnit::MILLIS => 1_000_000,
        Some(LogicalType::Timestamp(timestamp)) if timestamp.unit == TimeUnit::MICROS => 1_000,
        _ => 1,
    }
}

fn stamp(field: &Field, unit: i64) -> Result<Option<i64>, String> {
    let (number, unit) = match field {
        Field::Long(number) => (*number, unit),
        Field::ULong(number) => (i64::try_from(*number).map_err(|_| format!("its stamp is {number}"))?, unit),
        Field::TimestampMillis(number) => (*number, 1_000_000),
        Field::TimestampMicros(number) => (*number, 1_000),
        Field::Null => return Ok(None),
        other => return text(other).map(|text| stamp_of_text(&text)).transpose(),
    };
    number.checked_mul(unit).map(Some).ok_or_else(|| format!("its stamp {number} is not between the years 1677 and 2262"))
}

/// A text; what is no UTF-8 is replaced, as at a push.
fn text(field: &Field) -> Option<String> {
    match field {
        Field::Str(text) => Some(text.clone()),
        Field::Bytes(bytes) => Some(String::from_utf8_lossy(bytes.data()).into_owned()),
        _ => None,
    }
}

fn stream_id(field: &Field) -> Option<StreamId> {
    match field {
        Field::ULong(id) => Some(StreamId(*id)),
        Field::Long(id) => Some(StreamId(id.cast_unsigned())),
        _ => None,
    }
}

/// The pairs of a map or a struct.
fn pairs(name: &str, field: &Field) -> Result<Vec<Pair>, String> {
    let no_texts = || format!("`{name}` holds something else than texts");
    match field {
        Field::Null => Ok(Vec::new()),
        Field::MapInternal(map) => {
            let pair = |(key, value): &(Field, Field)| match value {
                Field::Null => text(key).map(|key| (key, String::new())),
                value => text(key).zip(text(value)),
            };
            map.entries().iter().map(|entry| pair(entry).ok_or_else(no_texts)).collect()
        }
        Field::Group(row) => {
            let pair = |(key, value): (&String, &Field)| match value {
                Field::Null => Some((key.clone(), String::new())),
                value => text(value).map(|value| (key.clone(), value)),
            };
            row.get_column_iter().map(|column| pair(column).ok_or_else(no_texts)).collect()
        }
        _ => Err(no_texts()),
    }
}
