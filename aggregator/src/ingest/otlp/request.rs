//! Walks an export request: a stream for each resource, an entry for each record.
//!
//! An entry's metadata is, from weakest to strongest: attributes of the record, what the record says of itself, attributes of the
//! resource that are no labels, those of the scope. The pairs of resource and scope are shared by their entries and made once.

use std::collections::{BTreeMap, HashSet};

use tailwater_proto::wire::{Fields, Value, WireError};
use tailwater_storage::pairs::Pairs;

use crate::ingest::decode::PushRefused;
use crate::ingest::intake::{BatchBuilder, MAX_LABEL_TEXT};
use crate::ingest::metadata::sanitised_name;
use crate::ingest::otlp::OtlpError;
use crate::ingest::otlp::attributes::each_attribute;
use crate::ingest::otlp::rules::{Action, AttributeRules, OtlpConfig};
use crate::ingest::otlp::schema::{
    RECORD_ATTRIBUTES, RECORD_BODY, RECORD_DROPPED, RECORD_FLAGS, RECORD_OBSERVED_TIME, RECORD_SEVERITY_NUMBER, RECORD_SEVERITY_TEXT,
    RECORD_SPAN_ID, RECORD_TIME, RECORD_TRACE_ID, REQUEST_RESOURCES, RESOURCE_ATTRIBUTES, RESOURCE_LOGS_RESOURCE, RESOURCE_LOGS_SCOPES,
    SCOPE_ATTRIBUTES, SCOPE_DROPPED, SCOPE_LOGS_RECORDS, SCOPE_LOGS_SCOPE, SCOPE_NAME, SCOPE_VERSION,
};
use crate::ingest::otlp::value::AnyValue;

/// What a pair takes besides its text.
const PAIR_OVERHEAD: usize = 96;
const NANOSECONDS: u64 = 1_000_000_000;

/// Reads a whole request. `now`: the time of records that have none, nanoseconds since the epoch.
pub(super) fn read(request: &[u8], config: &OtlpConfig, now: i64, builder: &mut BatchBuilder<'_>) -> Result<(), PushRefused> {
    let mut reader = Reader {
        builder,
        of_resource: config.of_resource(),
        of_scope: config.of_scope(),
        of_record: config.of_record(),
        now: now.max(0).cast_unsigned(),
    };
    let mut resources = Fields::new("ExportLogsServiceRequest", request);
    while let Some(resource) = resources.next_bytes_of(REQUEST_RESOURCES) {
        reader.resource_logs(resource?)?;
    }
    Ok(())
}

struct Reader<'r, 'b> {
    builder: &'r mut BatchBuilder<'b>,
    of_resource: AttributeRules<'r>,
    of_scope: AttributeRules<'r>,
    of_record: AttributeRules<'r>,
    now: u64,
}

/// What the entries of a scope have in common.
#[derive(Default)]
struct Common {
    label_text: Vec<u8>,
    /// Names are fit for queries already.
    pairs: Vec<(String, Vec<u8>)>,
}

impl Reader<'_, '_> {
    fn resource_logs(&mut self, message: &[u8]) -> Result<(), PushRefused> {
        let mut common = self.resource(message)?;
        let resource_pairs = common.pairs.len();
        let mut scopes = Fields::new("ResourceLogs", message);
        while let Some(scope) = scopes.next_bytes_of(RESOURCE_LOGS_SCOPES) {
            self.scope_logs(scope?, &mut common)?;
            common.pairs.truncate(resource_pairs);
        }
        Ok(())
    }

    /// Labels and metadata of a resource.
    fn resource(&mut self, message: &[u8]) -> Result<Common, PushRefused> {
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        let mut room = MAX_LABEL_TEXT;
        let mut pairs = Vec::new();
        let mut resources = Fields::new("ResourceLogs", message);
        while let Some(resource) = resources.next_bytes_of(RESOURCE_LOGS_RESOURCE) {
            let attributes = Fields::new("Resource", resource?);
            each_attribute(attributes, RESOURCE_ATTRIBUTES, &self.of_resource, |action, name, value| {
                self.builder.grow(name.len() + value.len() + PAIR_OVERHEAD)?;
                let name = sanitised_name(name).into_owned();
                if action == Action::StructuredMetadata {
                    pairs.push((name, value.to_vec()));
                    return Ok(());
                }
                room = room.checked_sub(name.len() + value.len()).ok_or(PushRefused::LabelTextTooLarge { limit: MAX_LABEL_TEXT })?;
                if !name.is_empty() && !value.is_empty() {
                    labels.insert(name, String::from_utf8_lossy(value).into_owned());
                }
                Ok(())
            })?;
        }
        Ok(Common { label_text: Pairs::from_pairs(labels).canonical_text().into_bytes(), pairs })
    }

    fn scope_logs(&mut self, message: &[u8], common: &mut Common) -> Result<(), PushRefused> {
        let mut records = Fields::new("ScopeLogs", message);
        let Some(first) = records.next_bytes_of(SCOPE_LOGS_RECORDS) else { return Ok(()) };
        self.scope(message, common)?;
        self.builder.see_stream()?;
        // What a request says once of a resource is worked through for each of its scopes.
        self.builder.grow(common.label_text.len() + common.pairs.len() * PAIR_OVERHEAD)?;
        self.builder.stream(&common.label_text)?;
        for (name, value) in &common.pairs {
            self.builder.shared_pair(name.as_bytes(), value)?;
        }
        let common_names: HashSet<&str> = common.pairs.iter().map(|(name, _)| name.as_str()).collect();
        self.record(first?, &common_names)?;
        while let Some(record) = records.next_bytes_of(SCOPE_LOGS_RECORDS) {
            self.record(record?, &common_names)?;
        }
        Ok(())
    }

    fn scope(&mut self, message: &[u8], common: &mut Common) -> Result<(), PushRefused> {
        let mut scopes = Fields::new("ScopeLogs", message);
        while let Some(scope) = scopes.next_bytes_of(SCOPE_LOGS_SCOPE) {
            let scope = scope?;
            each_attribute(Fields::new("InstrumentationScope", scope), SCOPE_ATTRIBUTES, &self.of_scope, |_, name, value| {
                self.builder.grow(name.len() + value.len() + PAIR_OVERHEAD)?;
                common.pairs.push((sanitised_name(name).into_owned(), value.to_vec()));
                Ok(())
            })?;
            let mut add = |name: &str, value: &[u8]| {
                if !value.is_empty() {
                    common.pairs.push((name.to_owned(), value.to_vec()));
                }
            };
            let mut fields = Fields::new("InstrumentationScope", scope);
            while let Some(field) = fields.next_field()? {
                match field {
                    (SCOPE_NAME, Value::Bytes(name)) => add("scope_name", name),
                    (SCOPE_VERSION, Value::Bytes(version)) => add("scope_version", version),
                    (SCOPE_DROPPED, Value::Varint(count @ 1..)) => add("scope_dropped_attributes_count", count.to_string().as_bytes()),
                    _ => {}
                }
                self.builder.grow(PAIR_OVERHEAD)?;
            }
        }
        Ok(())
    }

    fn record(&mut self, message: &[u8], common_names: &HashSet<&str>) -> Result<(), PushRefused> {
        let record = Record::read(message)?;
        if record.has_attributes {
            each_attribute(Fields::new("LogRecord", message), RECORD_ATTRIBUTES, &self.of_record, |_, name, value| {
                self.builder.grow(name.len())?;
                let name = sanitised_name(name);
                if common_names.contains(&*name) { Ok(()) } else { self.builder.own_pair(name.as_bytes(), value) }
            })?;
        }
        record.each_property(
            |name, value| {
                if common_names.contains(name) { Ok(()) } else { self.builder.own_pair(name.as_bytes(), value) }
            },
        )?;
        let stamp = [record.time, record.observed_time, self.now].into_iter().find(|time| *time > 0).unwrap_or(0);
        let seconds = i64::try_from(stamp / NANOSECONDS).expect("34 bits");
        let nanos = i32::try_from(stamp % NANOSECONDS).expect("a remainder of 1e9 has 30 bits");
        let line = AnyValue::read(record.body)?.text()?;
        self.builder.entry(seconds, nanos, &line)
    }
}

/// The fields of a record, but for its attributes.
#[derive(Default)]
struct Record<'a> {
    time: u64,
    observed_time: u64,
    severity_number: i32,
    severity_text: &'a [u8],
    body: &'a [u8],
    dropped_attributes: u32,
    flags: u32,
    trace_id: &'a [u8],
    span_id: &'a [u8],
    has_attributes: bool,
}

impl<'a> Record<'a> {
    fn read(message: &'a [u8]) -> Result<Self, WireError> {
        let mut record = Self::default();
        let mut fields = Fields::new("LogRecord", message);
        while let Some(field) = fields.next_field()? {
            match field {
                (RECORD_TIME, Value::Fixed64(time)) => record.time = time,
                (RECORD_OBSERVED_TIME, Value::Fixed64(time)) => record.observed_time = time,
                (RECORD_SEVERITY_NUMBER, Value::Varint(number)) => record.severity_number = number as i32,
                (RECORD_SEVERITY_TEXT, Value::Bytes(text)) => record.severity_text = text,
                (RECORD_BODY, Value::Bytes(body)) => record.body = body,
                (RECORD_DROPPED, Value::Varint(count)) => record.dropped_attributes = count as u32,
                (RECORD_FLAGS, Value::Fixed32(flags)) => record.flags = flags,
                (RECORD_TRACE_ID, Value::Bytes(id)) => record.trace_id = id,
                (RECORD_SPAN_ID, Value::Bytes(id)) => record.span_id = id,
                (RECORD_ATTRIBUTES, Value::Bytes(_)) => record.has_attributes = true,
                _ => {}
            }
        }
        Ok(record)
    }

    /// Hands over what the record says of itself, as metadata.
    fn each_property(&self, mut take: impl FnMut(&str, &[u8]) -> Result<(), PushRefused>) -> Result<(), PushRefused> {
        if self.time > 0 && self.observed_time > 0 {
            take("observed_timestamp", self.observed_time.to_string().as_bytes())?;
        }
        if self.severity_number != 0 {
            take("severity_number", self.severity_number.to_string().as_bytes())?;
        }
        if !self.severity_text.is_empty() {
            take("severity_text", self.severity_text)?;
        }
        if self.dropped_attributes != 0 {
            take("dropped_attributes_count", self.dropped_attributes.to_string().as_bytes())?;
        }
        if self.flags != 0 {
            take("flags", self.flags.to_string().as_bytes())?;
        }
        if let Some(id) = hexadecimal_id("the trace id", self.trace_id, 16)? {
            take("trace_id", id.as_bytes())?;
        }
        if let Some(id) = hexadecimal_id("the span id", self.span_id, 8)? {
            take("span_id", id.as_bytes())?;
        }
        Ok(())
    }
}

/// An id as text; `None` where there is none, which zeros mean too.
fn hexadecimal_id(what: &'static str, id: &[u8], expected: usize) -> Result<Option<String>, OtlpError> {
    if id.is_empty() {
        return Ok(None);
    }
    if id.len() != expected {
        return Err(OtlpError::IdLength { what, length: id.len(), expected });
    }
    let is_set = id.iter().any(|byte| *byte != 0);
    Ok(is_set.then(|| id.iter().map(|byte| format!("{byte:02x}")).collect()))
}
