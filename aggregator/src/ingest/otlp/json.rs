//! Rewrites an export request in JSON as the protobuf that it stands for.
//!
//! Names are taken in `camelCase` and `snake_case`, numbers also as strings, ids in hexadecimal, bytes in base64; unknown names and `null`
//! are skipped. No field takes more bytes on the wire than in JSON, so the result is never longer than the text.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use prost::encoding::encode_varint;

use crate::ingest::json::JsonError;
use crate::ingest::json::cursor::Cursor;
use crate::ingest::otlp::schema::{Field, Kind, Message, REQUEST};
use crate::ingest::otlp::{MAX_DEPTH, OtlpError};

/// Levels of messages: a value inside a value is two, and those around values are few.
const MAX_MESSAGES: usize = 2 * MAX_DEPTH + 8;

const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const BYTES: u8 = 2;
const FIXED_32: u8 = 5;

impl From<JsonError> for OtlpError {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

/// What follows the request is ignored.
pub(super) fn to_protobuf(text: &[u8]) -> Result<Vec<u8>, OtlpError> {
    let mut cursor = Cursor::new(text);
    if cursor.peek().is_none() {
        return Err(JsonError::Empty.into());
    }
    let mut out = Vec::new();
    if !cursor.take_null() {
        write_message(&mut cursor, &REQUEST, 0, &mut out)?;
    }
    Ok(out)
}

fn write_message(cursor: &mut Cursor<'_>, message: &Message, depth: usize, out: &mut Vec<u8>) -> Result<(), OtlpError> {
    if depth > MAX_MESSAGES {
        return Err(OtlpError::TooDeep { limit: MAX_DEPTH });
    }
    let mut has_more = cursor.open(b'{', b'}', "an object")?;
    while has_more {
        let key = cursor.key()?;
        if !cursor.take_null() {
            match message.field(&key) {
                Some(field) => write_field(cursor, field, depth, out)?,
                None => drop(cursor.skip_value()?),
            }
        }
        has_more = cursor.another(b'}', "',' or '}' after a value")?;
    }
    Ok(())
}

fn write_field(cursor: &mut Cursor<'_>, field: &Field, depth: usize, out: &mut Vec<u8>) -> Result<(), OtlpError> {
    let what = field.names[0];
    match field.kind {
        Kind::Text => put_bytes(out, field, &cursor.string("a string")?),
        Kind::Base64 => {
            let text = cursor.string("bytes in base64")?;
            put_bytes(out, field, &BASE64_STANDARD.decode(&text).map_err(|_| OtlpError::Encoded { what })?);
        }
        Kind::Hexadecimal => {
            let text = cursor.string("an id in hexadecimal")?;
            put_bytes(out, field, &hexadecimal(&text).ok_or(OtlpError::Encoded { what })?);
        }
        Kind::Bool => {
            let is_true = cursor.skip_value()? == b"true";
            put_number(out, field, u64::from(is_true));
        }
        Kind::Int => put_number(out, field, number::<i64>(cursor, what)?.cast_unsigned()),
        Kind::Unsigned => put_number(out, field, u64::from(number::<u32>(cursor, what)?)),
        Kind::Severity => put_number(out, field, severity(cursor, what)?),
        Kind::Double => {
            put_key(out, field, FIXED_64);
            out.extend_from_slice(&number::<f64>(cursor, what)?.to_le_bytes());
        }
        Kind::Fixed64 => {
            put_key(out, field, FIXED_64);
            out.extend_from_slice(&number::<u64>(cursor, what)?.to_le_bytes());
        }
        Kind::Fixed32 => {
            put_key(out, field, FIXED_32);
            out.extend_from_slice(&number::<u32>(cursor, what)?.to_le_bytes());
        }
        Kind::Message(message) => write_nested(cursor, field, message, depth, out)?,
        Kind::Repeated(message) => {
            let mut has_more = cursor.open(b'[', b']', "an array")?;
            while has_more {
                if !cursor.take_null() {
                    write_nested(cursor, field, message, depth, out)?;
                }
                has_more = cursor.another(b']', "',' or ']' after an element")?;
            }
        }
    }
    Ok(())
}

/// A message within a message; its length is known only afterwards.
fn write_nested(cursor: &mut Cursor<'_>, field: &Field, message: &Message, depth: usize, out: &mut Vec<u8>) -> Result<(), OtlpError> {
    /// A varint of 28 bits, whatever the number; requests are far shorter.
    const LENGTH_BYTES: usize = 4;
    const SHORT: usize = 0x80;
    put_key(out, field, BYTES);
    let place = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    write_message(cursor, message, depth + 1, out)?;
    let length = out.len() - place - LENGTH_BYTES;
    if length < SHORT {
        out[place] = length as u8;
        out.drain(place + 1..place + LENGTH_BYTES);
        return Ok(());
    }
    if length >> (7 * LENGTH_BYTES) > 0 {
        return Err(OtlpError::ValueTooLarge { limit: (1 << (7 * LENGTH_BYTES)) - 1 });
    }
    for (index, byte) in out[place..place + LENGTH_BYTES].iter_mut().enumerate() {
        let more = if index + 1 < LENGTH_BYTES { 0x80 } else { 0 };
        *byte = (length >> (7 * index)) as u8 & 0x7f | more;
    }
    Ok(())
}

/// A number, or the string of one.
fn number<N: std::str::FromStr>(cursor: &mut Cursor<'_>, what: &'static str) -> Result<N, OtlpError> {
    const LONGEST_TOLD: usize = 40;
    let text = if cursor.peek() == Some(b'"') { cursor.string("a number")? } else { cursor.skip_value()?.into() };
    let parsed = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| {
        let shown = &text[..text.len().min(LONGEST_TOLD)];
        OtlpError::Number { what, text: String::from_utf8_lossy(shown).into_owned() }
    })
}

/// Its number, or a name such as `SEVERITY_NUMBER_WARN2`.
fn severity(cursor: &mut Cursor<'_>, what: &'static str) -> Result<u64, OtlpError> {
    const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let mut ahead = cursor.clone();
    if ahead.peek() == Some(b'"')
        && let Some(name) = ahead.string("a severity")?.strip_prefix(b"SEVERITY_NUMBER_")
    {
        *cursor = ahead;
        let (level, step) = match name.split_last() {
            Some((digit @ b'2'..=b'4', level)) => (level, u64::from(digit - b'1')),
            _ => (name, 0),
        };
        let place = LEVELS.iter().position(|known| known.as_bytes() == level);
        return Ok(place.map_or(0, |place| 4 * place as u64 + 1 + step));
    }
    Ok(i64::from(number::<i32>(cursor, what)?).cast_unsigned())
}

fn hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.chunks(2).map(|pair| match *pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

fn put_key(out: &mut Vec<u8>, field: &Field, wire_type: u8) {
    encode_varint(u64::from(field.number << 3) | u64::from(wire_type), out);
}

fn put_number(out: &mut Vec<u8>, field: &Field, number: u64) {
    put_key(out, field, VARINT);
    encode_varint(number, out);
}

fn put_bytes(out: &mut Vec<u8>, field: &Field, bytes: &[u8]) {
    put_key(out, field, BYTES);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
