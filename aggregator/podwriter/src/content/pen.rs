//! Appends numbers and identifiers to a byte buffer without allocating.

use crate::random::Random;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes to the end of its buffer; calls chain.
pub(crate) struct Pen<'a>(pub(crate) &'a mut Vec<u8>);

impl Pen<'_> {
    #[inline]
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    #[inline]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    #[inline]
    pub(crate) fn decimal(&mut self, mut number: u64) -> &mut Self {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return self.bytes(&digits[at..]);
            }
        }
    }

    /// The last `width` decimal digits, at most 20, zeros in front.
    #[inline]
    pub(crate) fn padded(&mut self, mut number: u64, width: usize) -> &mut Self {
        let mut digits = [b'0'; 20];
        let first = digits.len().saturating_sub(width);
        for digit in digits[first..].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.bytes(&digits[first..])
    }

    /// The lowest `width` hexadecimal digits, at most 16.
    #[inline]
    pub(crate) fn hex(&mut self, number: u64, width: usize) -> &mut Self {
        let mut digits = [0; 16];
        for (index, digit) in digits.iter_mut().enumerate() {
            *digit = HEX[(number >> (60 - 4 * index)) as usize & 15];
        }
        self.bytes(&digits[16 - width.min(16)..])
    }

    /// A random UUID of version 4.
    pub(crate) fn uuid(&mut self, random: &mut Random) -> &mut Self {
        let (high, low) = (random.next(), random.next());
        self.hex(high >> 32, 8).text("-").hex(high >> 16, 4).text("-4").hex(high, 3);
        self.text("-").hex(8 + (low >> 62), 1).hex(low >> 48, 3).text("-").hex(low, 12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_full() {
        let mut out = Vec::new();
        Pen(&mut out).decimal(0).text(" ").decimal(u64::MAX).text(" ").padded(7, 3).padded(12345, 2);
        Pen(&mut out).text(" ").hex(0xabc, 6).hex(u64::MAX, 16);
        assert_eq!(String::from_utf8(out).unwrap(), format!("0 {} 00745 000abcffffffffffffffff", u64::MAX));
    }

    #[test]
    fn uuids_have_their_version_and_variant() {
        let mut random = Random::new(3);
        for _ in 0..50 {
            let mut out = Vec::new();
            Pen(&mut out).uuid(&mut random);
            let uuid = String::from_utf8(out).unwrap();
            let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12]);
            assert_eq!(uuid.as_bytes()[14], b'4');
            assert!(b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
        }
    }
}
