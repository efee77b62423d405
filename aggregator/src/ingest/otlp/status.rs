//! The body of a refusal: a `google.rpc.Status` with its message, as collectors read it.

use prost::encoding::encode_varint;

/// `Status { string message = 2 }`
pub fn encode(message: &str) -> Vec<u8> {
    const MESSAGE_KEY: u8 = 2 << 3 | 2;
    let mut body = vec![MESSAGE_KEY];
    encode_varint(message.len() as u64, &mut body);
    body.extend_from_slice(message.as_bytes());
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_proto::wire::{Fields, Value};

    #[test]
    fn the_message_is_the_second_field() {
        let text = "é".repeat(100);
        let body = encode(&text);
        let mut fields = Fields::new("Status", &body);
        assert_eq!(fields.next_field(), Ok(Some((2, Value::Bytes(text.as_bytes())))));
        assert_eq!(fields.next_field(), Ok(None));
    }
}
