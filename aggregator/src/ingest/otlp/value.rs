//! Values of attributes and bodies: read off the wire one level at a time, written as the text that is stored.
//!
//! Text and numbers are written as they are; maps and arrays as compact JSON, keys sorted, `<`, `>` and `&` escaped, bytes in base64.
//! Depth, length and the pairs that have to be sorted are bounded; beyond that the request is refused.

use std::borrow::Cow;
use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tailwater_proto::wire::{Fields, Value, WireError};

use crate::ingest::decode::PushRefused;
use crate::ingest::otlp::schema::{
    LIST_VALUES, PAIR_KEY, PAIR_VALUE, VALUE_ARRAY, VALUE_BOOL, VALUE_BYTES, VALUE_DOUBLE, VALUE_INT, VALUE_MAP, VALUE_TEXT,
};
use crate::ingest::otlp::{MAX_DEPTH, MAX_OPEN_PAIRS, MAX_VALUE_TEXT, OtlpError};

/// A value; arrays and maps are their messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum AnyValue<'a> {
    Empty,
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    Array(&'a [u8]),
    Map(&'a [u8]),
    Bytes(&'a [u8]),
}

impl<'a> AnyValue<'a> {
    /// Of several values the last one counts.
    pub(super) fn read(message: &'a [u8]) -> Result<Self, WireError> {
        let mut value = Self::Empty;
        let mut fields = Fields::new("AnyValue", message);
        while let Some(field) = fields.next_field()? {
            value = match field {
                (VALUE_TEXT, Value::Bytes(text)) => Self::Text(text),
                (VALUE_BOOL, Value::Varint(number)) => Self::Bool(number != 0),
                (VALUE_INT, Value::Varint(number)) => Self::Int(number.cast_signed()),
                (VALUE_DOUBLE, Value::Fixed64(bits)) => Self::Double(f64::from_bits(bits)),
                (VALUE_ARRAY, Value::Bytes(list)) => Self::Array(list),
                (VALUE_MAP, Value::Bytes(list)) => Self::Map(list),
                (VALUE_BYTES, Value::Bytes(bytes)) => Self::Bytes(bytes),
                _ => value,
            };
        }
        Ok(value)
    }

    /// The text that is stored of it.
    pub(super) fn text(self) -> Result<Cow<'a, [u8]>, PushRefused> {
        if let Self::Text(text) = self {
            return Ok(Cow::Borrowed(text));
        }
        let mut out = Vec::new();
        match self {
            Self::Empty | Self::Text(_) => {}
            Self::Bytes(bytes) => out = BASE64_STANDARD.encode(bytes).into_bytes(),
            scalar_or_list => Writer { out: &mut out, open_pairs: 0 }.value(scalar_or_list, 0)?,
        }
        Ok(Cow::Owned(out))
    }
}

/// A key and the message of its value.
pub(super) fn read_pair(message: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
    let mut fields = Fields::new("KeyValue", message);
    while let Some(field) = fields.next_field()? {
        match field {
            (PAIR_KEY, Value::Bytes(text)) => key = text,
            (PAIR_VALUE, Value::Bytes(message)) => value = message,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Writes JSON.
struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// Pairs that the maps around the current value hold for sorting.
    open_pairs: usize,
}

impl Writer<'_> {
    fn value(&mut self, value: AnyValue<'_>, depth: usize) -> Result<(), PushRefused> {
        if depth > MAX_DEPTH {
            return Err(OtlpError::TooDeep { limit: MAX_DEPTH }.into());
        }
        match value {
            AnyValue::Empty => self.out.extend_from_slice(b"null"),
            AnyValue::Text(text) => self.string(text),
            AnyValue::Bool(is_true) => self.out.extend_from_slice(if is_true { b"true" } else { b"false" }),
            AnyValue::Int(number) => self.formatted(format_args!("{number}")),
            AnyValue::Double(number) => self.double(number),
            AnyValue::Array(list) => self.array(list, depth)?,
            AnyValue::Map(list) => self.map(list, depth)?,
            AnyValue::Bytes(bytes) => {
                self.out.push(b'"');
                self.out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
                self.out.push(b'"');
            }
        }
        if self.out.len() > MAX_VALUE_TEXT { Err(OtlpError::ValueTooLarge { limit: MAX_VALUE_TEXT }.into()) } else { Ok(()) }
    }

    fn array(&mut self, list: &[u8], depth: usize) -> Result<(), PushRefused> {
        self.out.push(b'[');
        let mut fields = Fields::new("ArrayValue", list);
        let mut is_first = true;
        while let Some(value) = fields.next_bytes_of(LIST_VALUES) {
            if !std::mem::replace(&mut is_first, false) {
                self.out.push(b',');
            }
            self.value(AnyValue::read(value?)?, depth + 1)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn map(&mut self, list: &[u8], depth: usize) -> Result<(), PushRefused> {
        let before = self.open_pairs;
        let mut pairs = Vec::new();
        let mut fields = Fields::new("KeyValueList", list);
        while let Some(pair) = fields.next_bytes_of(LIST_VALUES) {
            self.open_pairs += 1;
            if self.open_pairs > MAX_OPEN_PAIRS {
                return Err(OtlpError::TooManyPairs { limit: MAX_OPEN_PAIRS }.into());
            }
            pairs.push(read_pair(pair?)?);
        }
        pairs.sort_by_key(|(key, _)| *key);
        self.out.push(b'{');
        let mut is_first = true;
        for (index, (key, value)) in pairs.iter().enumerate() {
            // Of a repeated key the last value counts; the sort has kept their order.
            if pairs.get(index + 1).is_some_and(|(next, _)| next == key) {
                continue;
            }
            if !std::mem::replace(&mut is_first, false) {
                self.out.push(b',');
            }
            self.string(key);
            self.out.push(b':');
            self.value(AnyValue::read(value)?, depth + 1)?;
        }
        self.out.push(b'}');
        self.open_pairs = before;
        Ok(())
    }

    fn string(&mut self, text: &[u8]) {
        self.out.push(b'"');
        for chunk in text.utf8_chunks() {
            for character in chunk.valid().chars() {
                self.character(character);
            }
            if !chunk.invalid().is_empty() {
                self.out.extend_from_slice("\\ufffd".as_bytes());
            }
        }
        self.out.push(b'"');
    }

    fn character(&mut self, character: char) {
        match character {
            '"' | '\\' => self.out.extend_from_slice(&[b'\\', character as u8]),
            '\n' => self.out.extend_from_slice(b"\\n"),
            '\r' => self.out.extend_from_slice(b"\\r"),
            '\t' => self.out.extend_from_slice(b"\\t"),
            '\u{8}' => self.out.extend_from_slice(b"\\b"),
            '\u{c}' => self.out.extend_from_slice(b"\\f"),
            '<' | '>' | '&' | '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => self.formatted(format_args!("\\u{:04x}", character as u32)),
            plain => self.out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }

    /// The shortest decimal that reads back the same; with an exponent where it is very small or large.
    fn double(&mut self, number: f64) {
        let magnitude = number.abs();
        if number.is_infinite() {
            self.out.extend_from_slice(if number > 0.0 { b"+Inf" } else { b"-Inf" });
        } else if magnitude != 0.0 && magnitude < 1e-6 {
            self.formatted(format_args!("{number:e}"));
        } else if magnitude >= 1e21 {
            self.formatted(format_args!("{}", format!("{number:e}").replace('e', "e+")));
        } else {
            self.formatted(format_args!("{number}"));
        }
    }

    fn formatted(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("writing to memory cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::otlp::tests::{array, map, value};
    use serde_json::json;

    fn text(message: &[u8]) -> String {
        let text = AnyValue::read(message).expect("well formed").text().expect("within bounds");
        String::from_utf8(text.into_owned()).expect("text")
    }

    #[test]
    fn values_of_every_kind_have_a_text() {
        for (sent, expected) in [
            (json!("plain"), "plain"),
            (json!(true), "true"),
            (json!(-42), "-42"),
            (json!(0.5), "0.5"),
            (json!(1.0), "1"),
            (json!(1e21), "1e+21"),
            (json!(1.5e-7), "1.5e-7"),
            (json!(null), ""),
            (json!([]), "[]"),
            (json!({}), "{}"),
            (json!(["a", 1, true, null, 2.5]), r#"["a",1,true,null,2.5]"#),
            (json!({"z": {"m": 1}, "a": ["<&>", "q\"\\\n\u{1}"]}), r#"{"a":["\u003c\u0026\u003e","q\"\\\n\u0001"],"z":{"m":1}}"#),
        ] {
            assert_eq!(text(&value(&sent)), expected);
        }
        let bytes = [&[0x3a, 3][..], b"\x00\xff\x10"].concat();
        assert_eq!(text(&bytes), "AP8Q");
        assert_eq!(text(&array(&[bytes])), r#"["AP8Q"]"#);
        let not_a_number = [&[0x21][..], &f64::NAN.to_le_bytes()].concat();
        assert_eq!(text(&not_a_number), "NaN");
    }

    #[test]
    fn of_a_repeated_key_the_last_value_counts_and_invalid_text_is_shown() {
        let repeated = map(&[(b"k", value(&json!(1))), (b"a", value(&json!(2))), (b"k", value(&json!(3)))]);
        assert_eq!(text(&repeated), r#"{"a":2,"k":3}"#);
        assert_eq!(text(&map(&[(b"\xff", value(&json!("x")))])), r#"{"\ufffd":"x"}"#);
    }

    #[test]
    fn depth_and_length_and_pairs_are_bounded() {
        let nested = |depth: usize| (0..depth).fold(value(&json!(1)), |inner, _| array(&[inner]));
        let read = |message: &[u8]| AnyValue::read(message).expect("well formed").text().map(|text| text.len());
        assert_eq!(read(&nested(MAX_DEPTH)), Ok(2 * MAX_DEPTH + 1));
        assert_eq!(read(&nested(MAX_DEPTH + 1)), Err(OtlpError::TooDeep { limit: MAX_DEPTH }.into()));
        let long = value(&json!("<".repeat(MAX_VALUE_TEXT / 6)));
        assert_eq!(read(&array(&[long.clone(), long])), Err(OtlpError::ValueTooLarge { limit: MAX_VALUE_TEXT }.into()));
        let empty_pairs = vec![(b"".as_slice(), Vec::new()); MAX_OPEN_PAIRS + 1];
        assert_eq!(read(&map(&empty_pairs)), Err(OtlpError::TooManyPairs { limit: MAX_OPEN_PAIRS }.into()));
    }
}
