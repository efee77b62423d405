//! The messages of an export request: numbers of their fields, and what they are called in JSON.
//!
//! ```text
//! ExportLogsServiceRequest { repeated ResourceLogs = 1 }
//! ResourceLogs { Resource = 1; repeated ScopeLogs = 2 }        Resource { repeated KeyValue attributes = 1; dropped = 2 }
//! ScopeLogs    { InstrumentationScope = 1; repeated LogRecord = 2 }
//! KeyValue     { string key = 1; AnyValue value = 2 }          AnyValue { one of text, bool, int, double, array, map, bytes }
//! ```

pub(super) const REQUEST_RESOURCES: u32 = 1;
pub(super) const RESOURCE_LOGS_RESOURCE: u32 = 1;
pub(super) const RESOURCE_LOGS_SCOPES: u32 = 2;
pub(super) const RESOURCE_ATTRIBUTES: u32 = 1;
pub(super) const SCOPE_LOGS_SCOPE: u32 = 1;
pub(super) const SCOPE_LOGS_RECORDS: u32 = 2;
pub(super) const SCOPE_NAME: u32 = 1;
pub(super) const SCOPE_VERSION: u32 = 2;
pub(super) const SCOPE_ATTRIBUTES: u32 = 3;
pub(super) const SCOPE_DROPPED: u32 = 4;
pub(super) const RECORD_TIME: u32 = 1;
pub(super) const RECORD_SEVERITY_NUMBER: u32 = 2;
pub(super) const RECORD_SEVERITY_TEXT: u32 = 3;
pub(super) const RECORD_BODY: u32 = 5;
pub(super) const RECORD_ATTRIBUTES: u32 = 6;
pub(super) const RECORD_DROPPED: u32 = 7;
pub(super) const RECORD_FLAGS: u32 = 8;
pub(super) const RECORD_TRACE_ID: u32 = 9;
pub(super) const RECORD_SPAN_ID: u32 = 10;
pub(super) const RECORD_OBSERVED_TIME: u32 = 11;
pub(super) const PAIR_KEY: u32 = 1;
pub(super) const PAIR_VALUE: u32 = 2;
pub(super) const VALUE_TEXT: u32 = 1;
pub(super) const VALUE_BOOL: u32 = 2;
pub(super) const VALUE_INT: u32 = 3;
pub(super) const VALUE_DOUBLE: u32 = 4;
pub(super) const VALUE_ARRAY: u32 = 5;
pub(super) const VALUE_MAP: u32 = 6;
pub(super) const VALUE_BYTES: u32 = 7;
/// Of arrays and maps alike.
pub(super) const LIST_VALUES: u32 = 1;

/// How a field is written in JSON and on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Base64,
    Hexadecimal,
    Bool,
    /// A signed number as varint.
    Int,
    /// An unsigned number as varint.
    Unsigned,
    /// Its number or the name of a severity, as varint.
    Severity,
    Double,
    Fixed64,
    Fixed32,
    Message(&'static Message),
    Repeated(&'static Message),
}

#[derive(Debug)]
pub(super) struct Field {
    /// `camelCase` as the standard has it, and `snake_case`.
    pub(super) names: [&'static str; 2],
    pub(super) number: u32,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) fields: &'static [Field],
}

impl Message {
    pub(super) fn field(&self, name: &[u8]) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.names.iter().any(|known| known.as_bytes() == name))
    }
}

const fn field(names: [&'static str; 2], number: u32, kind: Kind) -> Field {
    Field { names, number, kind }
}

pub(super) static REQUEST: Message =
    Message { fields: &[field(["resourceLogs", "resource_logs"], REQUEST_RESOURCES, Kind::Repeated(&RESOURCE_LOGS))] };

static RESOURCE_LOGS: Message = Message {
    fields: &[
        field(["resource", "resource"], RESOURCE_LOGS_RESOURCE, Kind::Message(&RESOURCE)),
        field(["scopeLogs", "scope_logs"], RESOURCE_LOGS_SCOPES, Kind::Repeated(&SCOPE_LOGS)),
    ],
};

static RESOURCE: Message = Message { fields: &[field(["attributes", "attributes"], RESOURCE_ATTRIBUTES, Kind::Repeated(&PAIR))] };

static SCOPE_LOGS: Message = Message {
    fields: &[
        field(["scope", "scope"], SCOPE_LOGS_SCOPE, Kind::Message(&SCOPE)),
        field(["logRecords", "log_records"], SCOPE_LOGS_RECORDS, Kind::Repeated(&RECORD)),
    ],
};

static SCOPE: Message = Message {
    fields: &[
        field(["name", "name"], SCOPE_NAME, Kind::Text),
        field(["version", "version"], SCOPE_VERSION, Kind::Text),
        field(["attributes", "attributes"], SCOPE_ATTRIBUTES, Kind::Repeated(&PAIR)),
        field(["droppedAttributesCount", "dropped_attributes_count"], SCOPE_DROPPED, Kind::Unsigned),
    ],
};

static RECORD: Message = Message {
    fields: &[
        field(["timeUnixNano", "time_unix_nano"], RECORD_TIME, Kind::Fixed64),
        field(["observedTimeUnixNano", "observed_time_unix_nano"], RECORD_OBSERVED_TIME, Kind::Fixed64),
        field(["severityNumber", "severity_number"], RECORD_SEVERITY_NUMBER, Kind::Severity),
        field(["severityText", "severity_text"], RECORD_SEVERITY_TEXT, Kind::Text),
        field(["body", "body"], RECORD_BODY, Kind::Message(&VALUE)),
        field(["attributes", "attributes"], RECORD_ATTRIBUTES, Kind::Repeated(&PAIR)),
        field(["droppedAttributesCount", "dropped_attributes_count"], RECORD_DROPPED, Kind::Unsigned),
        field(["flags", "flags"], RECORD_FLAGS, Kind::Fixed32),
        field(["traceId", "trace_id"], RECORD_TRACE_ID, Kind::Hexadecimal),
        field(["spanId", "span_id"], RECORD_SPAN_ID, Kind::Hexadecimal),
    ],
};

static PAIR: Message =
    Message { fields: &[field(["key", "key"], PAIR_KEY, Kind::Text), field(["value", "value"], PAIR_VALUE, Kind::Message(&VALUE))] };

static VALUE: Message = Message {
    fields: &[
        field(["stringValue", "string_value"], VALUE_TEXT, Kind::Text),
        field(["boolValue", "bool_value"], VALUE_BOOL, Kind::Bool),
        field(["intValue", "int_value"], VALUE_INT, Kind::Int),
        field(["doubleValue", "double_value"], VALUE_DOUBLE, Kind::Double),
        field(["arrayValue", "array_value"], VALUE_ARRAY, Kind::Message(&ARRAY)),
        field(["kvlistValue", "kvlist_value"], VALUE_MAP, Kind::Message(&MAP)),
        field(["bytesValue", "bytes_value"], VALUE_BYTES, Kind::Base64),
    ],
};

static ARRAY: Message = Message { fields: &[field(["values", "values"], LIST_VALUES, Kind::Repeated(&VALUE))] };

static MAP: Message = Message { fields: &[field(["values", "values"], LIST_VALUES, Kind::Repeated(&PAIR))] };
