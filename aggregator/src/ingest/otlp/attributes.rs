//! Attributes as names and texts: maps flattened with `_`, everything else one pair.

use tailwater_proto::wire::Fields;

use crate::ingest::decode::PushRefused;
use crate::ingest::otlp::rules::{Action, AttributeRules};
use crate::ingest::otlp::schema::LIST_VALUES;
use crate::ingest::otlp::value::{AnyValue, read_pair};
use crate::ingest::otlp::{MAX_DEPTH, OtlpError};

/// Hands over the pairs of the attributes in field `number` of a message, each with what is to be done with it. Names are
/// not fit for labels yet.
pub(super) fn each_attribute(
    mut fields: Fields<'_>,
    number: u32,
    rules: &AttributeRules<'_>,
    mut take: impl FnMut(Action, &[u8], &[u8]) -> Result<(), PushRefused>,
) -> Result<(), PushRefused> {
    let mut name = Vec::new();
    while let Some(attribute) = fields.next_bytes_of(number) {
        let (key, value) = read_pair(attribute?)?;
        let action = rules.action(key);
        if action == Action::Drop {
            continue;
        }
        name.clear();
        name.extend_from_slice(key);
        flatten(&mut name, AnyValue::read(value)?, 0, &mut |name, text| take(action, name, text))?;
    }
    Ok(())
}

fn flatten(
    name: &mut Vec<u8>,
    value: AnyValue<'_>,
    depth: usize,
    take: &mut impl FnMut(&[u8], &[u8]) -> Result<(), PushRefused>,
) -> Result<(), PushRefused> {
    let AnyValue::Map(list) = value else { return take(name, &value.text()?) };
    if depth >= MAX_DEPTH {
        return Err(OtlpError::TooDeep { limit: MAX_DEPTH }.into());
    }
    let mut fields = Fields::new("KeyValueList", list);
    let prefix = name.len();
    while let Some(pair) = fields.next_bytes_of(LIST_VALUES) {
        let (key, value) = read_pair(pair?)?;
        if prefix > 0 {
            name.push(b'_');
        }
        name.extend_from_slice(key);
        flatten(name, AnyValue::read(value)?, depth + 1, take)?;
        name.truncate(prefix);
    }
    Ok(())
}
