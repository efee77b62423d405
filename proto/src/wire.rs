//! Steps over the fields of a protobuf message where it lies; nothing is allocated.
//!
//! Memory is bounded by the message's own bytes whatever it says. A cut or malformed message ends the walk with a [`WireError`]
//! that says where. Nested messages are bytes here: whoever walks them decides how deep.

use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// The bytes are not the message that is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf in `{message}` at byte {offset}: {reason}")]
pub struct WireError {
    /// The message being read, as its name stands in the schema.
    pub message: &'static str,
    /// From the start of that message.
    pub offset: usize,
    pub reason: String,
}

/// The value of one field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Varint(u64),
    /// 8 bytes: a fixed integer or the bits of a double.
    Fixed64(u64),
    /// 4 bytes.
    Fixed32(u32),
    /// Text, bytes or a message.
    Bytes(&'a [u8]),
    /// Of a kind that no message here uses.
    Skipped,
}

/// Steps over the fields of one message.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    message: &'static str,
    rest: &'a [u8],
    length: usize,
}

impl<'a> Fields<'a> {
    /// `message`: its name, for errors.
    pub fn new(message: &'static str, bytes: &'a [u8]) -> Self {
        Self { message, rest: bytes, length: bytes.len() }
    }

    fn fail(&mut self, reason: impl ToString) -> WireError {
        let offset = self.length - self.rest.len();
        self.rest = &[];
        WireError { message: self.message, offset, reason: reason.to_string() }
    }

    /// The next field, by its number; `None` at the end of the message. After an error there is nothing more.
    pub fn next_field(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = decode_key(&mut self.rest).map_err(|e| self.fail(e))?;
        let value = match wire_type {
            WireType::Varint => Value::Varint(decode_varint(&mut self.rest).map_err(|e| self.fail(e))?),
            WireType::SixtyFourBit => {
                let Some((bytes, rest)) = self.rest.split_first_chunk::<8>() else { return Err(self.fail("unexpected end of message")) };
                self.rest = rest;
                Value::Fixed64(u64::from_le_bytes(*bytes))
            }
            WireType::ThirtyTwoBit => {
                let Some((bytes, rest)) = self.rest.split_first_chunk::<4>() else { return Err(self.fail("unexpected end of message")) };
                self.rest = rest;
                Value::Fixed32(u32::from_le_bytes(*bytes))
            }
            WireType::LengthDelimited => {
                let length = decode_varint(&mut self.rest).map_err(|e| self.fail(e))?;
                let length = usize::try_from(length).ok().filter(|&length| length <= self.rest.remaining());
                let Some(length) = length else { return Err(self.fail("unexpected end of message")) };
                let (bytes, rest) = self.rest.split_at(length);
                self.rest = rest;
                Value::Bytes(bytes)
            }
            other => {
                skip_field(other, number, &mut self.rest, DecodeContext::default()).map_err(|e| self.fail(e))?;
                Value::Skipped
            }
        };
        Ok(Some((number, value)))
    }

    /// The next text, bytes or message of a field; what else there is is skipped.
    pub fn next_bytes_of(&mut self, wanted: u32) -> Option<Result<&'a [u8], WireError>> {
        loop {
            match self.next_field() {
                Ok(None) => return None,
                Ok(Some((number, Value::Bytes(bytes)))) if number == wanted => return Some(Ok(bytes)),
                Ok(Some(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_kind_are_told_apart() {
        // 1: varint 300, 2: 8 bytes, 3: "ab", 4: 4 bytes, 5: a group
        let bytes = [0x08, 0xac, 0x02, 0x11, 1, 0, 0, 0, 0, 0, 0, 0x80, 0x1a, 2, b'a', b'b', 0x25, 1, 2, 3, 4, 0x2b, 0x2c];
        let mut fields = Fields::new("Message", &bytes);
        let mut next = || fields.next_field().expect("well formed");
        assert_eq!(next(), Some((1, Value::Varint(300))));
        assert_eq!(next(), Some((2, Value::Fixed64(0x8000_0000_0000_0001))));
        assert_eq!(next(), Some((3, Value::Bytes(b"ab"))));
        assert_eq!(next(), Some((4, Value::Fixed32(0x0403_0201))));
        assert_eq!(next(), Some((5, Value::Skipped)));
        assert_eq!(next(), None);
    }

    #[test]
    fn cut_fields_end_the_walk_with_their_place() {
        for (bytes, offset) in [([0x08].as_slice(), 1), (&[0x11, 1, 2, 3], 1), (&[0x08, 1, 0x1a, 5, b'a'], 4), (&[0x25, 1], 1)] {
            let mut fields = Fields::new("Message", bytes);
            let error = loop {
                match fields.next_field() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{bytes:?} is cut"),
                    Err(error) => break error,
                }
            };
            assert_eq!((error.message, error.offset), ("Message", offset), "{bytes:?}");
            assert_eq!(fields.next_field(), Ok(None));
        }
    }
}
