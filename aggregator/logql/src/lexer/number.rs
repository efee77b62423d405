//! Where a number ends: Go's number literals, with the errors Go's scanner reports for broken ones.

/// The length in bytes of the number at the start of `text`, which begins with a digit or with `.` and a digit.
pub(super) fn scan(text: &str) -> Result<usize, String> {
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0, digit: false, separator: false, invalid: None };
    scanner.number()
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// A digit was read.
    digit: bool,
    /// A `_` was read.
    separator: bool,
    /// The first digit too large for the base.
    invalid: Option<u8>,
}

impl Scanner<'_> {
    fn number(&mut self) -> Result<usize, String> {
        let (base, prefix) = self.prefix();
        let mut is_float = false;
        self.digits(base);
        if self.peek() == b'.' {
            if prefix == b'o' || prefix == b'b' {
                return Err(format!("invalid radix point in {}", literal_name(prefix)));
            }
            self.at += 1;
            is_float = true;
            self.digits(base);
        }
        if !self.digit {
            return Err(format!("{} has no digits", literal_name(prefix)));
        }
        is_float |= self.exponent(prefix, is_float)?;
        if let Some(digit) = self.invalid.filter(|_| !is_float) {
            return Err(format!("invalid digit '{}' in {}", char::from(digit), literal_name(prefix)));
        }
        if self.separator && !separators_are_between_digits(&self.bytes[..self.at]) {
            return Err("'_' must separate successive digits".to_owned());
        }
        Ok(self.at)
    }

    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Reads `0x`, `0o`, `0b` or a leading zero. Returns the base and the letter.
    fn prefix(&mut self) -> (u8, u8) {
        if self.peek() != b'0' {
            return (10, 0);
        }
        self.at += 1;
        let letter = self.peek() | 0x20;
        match letter {
            b'x' | b'o' | b'b' => self.at += 1,
            _ => {
                self.digit = true;
                return (8, b'0');
            }
        }
        let base = match letter {
            b'x' => 16,
            b'o' => 8,
            _ => 2,
        };
        (base, letter)
    }

    fn digits(&mut self, base: u8) {
        loop {
            let byte = self.peek();
            match byte {
                b'_' => self.separator = true,
                b'0'..=b'9' => {
                    self.digit = true;
                    if byte - b'0' >= base && self.invalid.is_none() {
                        self.invalid = Some(byte);
                    }
                }
                b'a'..=b'f' | b'A'..=b'F' if base == 16 => self.digit = true,
                _ => return,
            }
            self.at += 1;
        }
    }

    /// Reads an exponent; true if there is one.
    fn exponent(&mut self, prefix: u8, is_float: bool) -> Result<bool, String> {
        let letter = self.peek();
        match letter | 0x20 {
            b'e' if prefix != 0 && prefix != b'0' => {
                return Err(format!("'{}' exponent requires decimal mantissa", char::from(letter)));
            }
            b'p' if prefix != b'x' => {
                return Err(format!("'{}' exponent requires hexadecimal mantissa", char::from(letter)));
            }
            b'e' | b'p' => {}
            _ if prefix == b'x' && is_float => return Err("hexadecimal mantissa requires a 'p' exponent".to_owned()),
            _ => return Ok(false),
        }
        self.at += 1;
        if matches!(self.peek(), b'+' | b'-') {
            self.at += 1;
        }
        self.digit = false;
        self.digits(10);
        if !self.digit {
            return Err("exponent has no digits".to_owned());
        }
        Ok(true)
    }
}

fn literal_name(prefix: u8) -> &'static str {
    match prefix {
        b'x' => "hexadecimal literal",
        b'o' | b'0' => "octal literal",
        // Binary literals go by the name of decimal ones.
        _ => "decimal literal",
    }
}

/// A base prefix counts as a digit.
fn separators_are_between_digits(number: &[u8]) -> bool {
    let hexadecimal = number.len() > 1 && number[1] | 0x20 == b'x';
    let mut previous = b'.';
    for (index, &byte) in number.iter().enumerate() {
        let is_prefix = index == 1 && number[0] == b'0' && matches!(byte | 0x20, b'x' | b'o' | b'b');
        let is_digit = is_prefix || byte.is_ascii_digit() || (hexadecimal && byte.is_ascii_hexdigit());
        let class = if byte == b'_' {
            b'_'
        } else if is_digit {
            b'0'
        } else {
            b'.'
        };
        if (class == b'_' && previous != b'0') || (class == b'.' && previous == b'_') {
            return false;
        }
        previous = class;
    }
    previous != b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_go_ends_them() {
        for (text, length) in
            [("12a", 2), ("1.5.2", 3), (".5", 2), ("1e3x", 3), ("1e-3", 4), ("0x1Fg", 4), ("1_000+", 5), ("007", 3), ("08.5", 4), ("0", 1)]
        {
            assert_eq!(scan(text), Ok(length), "{text}");
        }
    }

    #[test]
    fn broken_numbers_are_refused_as_go_does() {
        for (text, message) in [
            ("1e", "exponent has no digits"),
            ("1e+x", "exponent has no digits"),
            ("0x", "hexadecimal literal has no digits"),
            ("0b", "decimal literal has no digits"),
            ("08", "invalid digit '8' in octal literal"),
            ("1__0", "'_' must separate successive digits"),
            ("1_", "'_' must separate successive digits"),
            ("0x1.5", "hexadecimal mantissa requires a 'p' exponent"),
            ("1p3", "'p' exponent requires hexadecimal mantissa"),
        ] {
            assert_eq!(scan(text), Err(message.to_owned()), "{text}");
        }
    }
}
