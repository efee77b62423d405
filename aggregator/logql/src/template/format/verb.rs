//! One value by one verb, with flags, width and precision.

use super::float::float_text;
use crate::literal::{format_go_duration, go_quote};
use crate::template::Environment;
use crate::template::time::Civil;
use crate::template::value::{IntegerType, Value};

/// What stands between `%` and the verb.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
}

/// Appends values to a text.
pub(super) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    environment: &'o dyn Environment,
    data_type: &'static str,
    pub(super) flags: Flags,
}

impl<'o> Writer<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>, environment: &'o dyn Environment, data_type: &'static str) -> Writer<'o> {
        Writer { out, environment, data_type, flags: Flags::default() }
    }

    pub(super) fn write(&mut self, value: &Value<'_>, verb: char) {
        match (value, verb) {
            (value, 'T') => self.pad(value.type_name(self.data_type).as_bytes(), false),
            (Value::Nothing | Value::Nil, 'v') => self.pad(b"<nil>", false),
            (Value::Nothing | Value::Nil, _) => self.bad_verb(value, verb),
            (Value::Bool(value), 't' | 'v') => self.pad(if *value { b"true" } else { b"false" }, false),
            (Value::Integer(number, integer), _) => self.integer_or_name(*number, *integer, value, verb),
            (Value::Float(number), 'v' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'b') => self.float(*number, verb),
            (Value::Text(text), _) => self.text(text, value, verb),
            (Value::List(items), _) => self.list(items, verb),
            (Value::Map(entries), _) => {
                let entries = entries.all();
                let entries = entries.iter().map(|(key, value)| (key.as_bytes(), value.clone()));
                self.map(entries, "map[string]interface {}", verb);
            }
            (Value::Root, _) => {
                let pairs = self.environment.pairs();
                let entries = pairs.iter().map(|(name, text)| (name.as_bytes(), Value::borrowed(text)));
                self.map(entries, self.data_type, verb);
            }
            (Value::Time(time), _) => {
                let mut text = Vec::new();
                time.write_default(&mut text);
                let verb = if matches!(verb, 's' | 'q' | 'x' | 'X') { verb } else { 'v' };
                self.flags.sharp &= verb != 'v';
                self.text(&text, value, verb);
            }
            (value, _) => self.bad_verb(value, verb),
        }
    }

    /// `%!d(string=7)`
    fn bad_verb(&mut self, value: &Value<'_>, verb: char) {
        self.out.extend_from_slice(b"%!");
        self.push(verb);
        self.out.push(b'(');
        if value.is_nothing() {
            self.out.extend_from_slice(b"<nil>");
        } else {
            self.out.extend_from_slice(value.type_name(self.data_type).as_bytes());
            self.out.push(b'=');
            self.write(value, 'v');
        }
        self.out.push(b')');
    }

    /// Appends text as it is.
    pub(super) fn literal(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn push(&mut self, character: char) {
        self.out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// Appends a text with blanks up to the width, or with zeros where numbers ask for them.
    fn pad(&mut self, text: &[u8], takes_zeros: bool) {
        let length = text.utf8_chunks().map(|chunk| chunk.valid().chars().count() + chunk.invalid().len()).sum();
        let missing = self.flags.width.unwrap_or(0).saturating_sub(length);
        if self.flags.minus {
            self.out.extend_from_slice(text);
            self.out.extend(std::iter::repeat_n(b' ', missing));
            return;
        }
        if self.flags.zero && takes_zeros {
            let sign = usize::from(matches!(text.first(), Some(b'+' | b'-' | b' ')));
            self.out.extend_from_slice(&text[..sign]);
            self.out.extend(std::iter::repeat_n(b'0', missing));
            self.out.extend_from_slice(&text[sign..]);
            return;
        }
        self.out.extend(std::iter::repeat_n(b' ', missing));
        self.out.extend_from_slice(text);
    }

    /// Months, weekdays and durations have names where a text is asked for.
    fn integer_or_name(&mut self, number: i64, integer: IntegerType, value: &Value<'_>, verb: char) {
        if verb == 'v' && self.flags.sharp && integer == IntegerType::Byte {
            return self.integer(number, value, 'x');
        }
        if !matches!(verb, 'v' | 's' | 'q' | 'x' | 'X') || (verb == 'v' && self.flags.sharp) {
            return self.integer(number, value, verb);
        }
        let name = match integer {
            IntegerType::Int | IntegerType::Int64 | IntegerType::Byte => return self.integer(number, value, verb),
            IntegerType::Month => Civil::month_name(number),
            IntegerType::Weekday => Civil::weekday_name(number),
            IntegerType::Duration => format_go_duration(number),
        };
        self.text(name.as_bytes(), value, verb);
    }

    fn integer(&mut self, number: i64, value: &Value<'_>, verb: char) {
        let magnitude = number.unsigned_abs();
        let (digits, prefix) = match verb {
            'v' | 'd' => (magnitude.to_string(), ""),
            'b' => (format!("{magnitude:b}"), "0b"),
            'o' => (format!("{magnitude:o}"), "0"),
            'O' => (format!("0o{magnitude:o}"), ""),
            'x' => (format!("{magnitude:x}"), "0x"),
            'X' => (format!("{magnitude:X}"), "0X"),
            'c' => return self.pad(character(number).encode_utf8(&mut [0; 4]).as_bytes(), false),
            'q' => return self.pad(quoted_character(character(number)).as_bytes(), false),
            'U' => return self.unicode(number),
            _ => return self.bad_verb(value, verb),
        };
        let sign = match number {
            ..0 => "-",
            _ if self.flags.plus => "+",
            _ if self.flags.space => " ",
            _ => "",
        };
        let digits = match self.flags.precision {
            Some(0) if number == 0 => return self.pad(b"", false),
            Some(precision) => format!("{digits:0>precision$}"),
            None => digits,
        };
        let prefix = if self.flags.sharp { prefix } else { "" };
        let takes_zeros = self.flags.precision.is_none();
        if takes_zeros && self.flags.zero && !self.flags.minus {
            // Zeros stand behind sign and prefix; the sign alone counts for the width.
            let width = self.flags.width.unwrap_or(0).saturating_sub(sign.len());
            let text = format!("{sign}{prefix}{digits:0>width$}");
            return self.out.extend_from_slice(text.as_bytes());
        }
        self.pad(format!("{sign}{prefix}{digits}").as_bytes(), false);
    }

    /// `U+0041`, with `#` also the character.
    fn unicode(&mut self, number: i64) {
        let digits = self.flags.precision.unwrap_or(4).max(4);
        let mut text = format!("U+{number:0>digits$X}");
        let character = character(number);
        if self.flags.sharp && crate::literal::is_printable(character) {
            text.push_str(&format!(" '{character}'"));
        }
        self.pad(text.as_bytes(), false);
    }

    fn float(&mut self, number: f64, verb: char) {
        let precision = match verb {
            'e' | 'E' | 'f' | 'F' => Some(self.flags.precision.unwrap_or(6)),
            'b' => None,
            _ => self.flags.precision,
        };
        let mut text = float_text(number, if verb == 'v' { 'g' } else { verb }, precision);
        let is_signed = text.starts_with(['+', '-']);
        if is_signed && text.starts_with('+') && !self.flags.plus {
            // Infinity shows its sign only on demand, unless it is the plain form.
            if verb != 'v' || self.flags.space {
                text.replace_range(..1, if self.flags.space { " " } else { "+" });
            }
        } else if !is_signed && self.flags.plus {
            text.insert(0, '+');
        } else if !is_signed && self.flags.space {
            text.insert(0, ' ');
        }
        self.pad(text.as_bytes(), number.is_finite());
    }

    fn text(&mut self, text: &[u8], value: &Value<'_>, verb: char) {
        let cut = match self.flags.precision {
            Some(precision) if verb != 'x' && verb != 'X' => &text[..prefix_length(text, precision)],
            _ => text,
        };
        match verb {
            // Here the flag asks for the source of the value, not for back quotes.
            'v' if self.flags.sharp => self.pad(quote_bytes(cut).as_bytes(), false),
            'v' | 's' => self.pad(cut, false),
            'q' => self.quoted(cut),
            'x' | 'X' => self.hexadecimal(&text[..self.flags.precision.unwrap_or(text.len()).min(text.len())], verb == 'X'),
            _ => self.bad_verb(value, verb),
        }
    }

    /// With `#` in back quotes where that is possible, with `+` in ASCII alone.
    fn quoted(&mut self, text: &[u8]) {
        let readable = String::from_utf8_lossy(text);
        let is_raw = |character: char| character != '`' && character != '\u{feff}' && (character == '\t' || !character.is_control());
        let quoted = if self.flags.sharp && std::str::from_utf8(text).is_ok() && readable.chars().all(is_raw) {
            format!("`{readable}`")
        } else if self.flags.plus {
            go_quote(&readable).chars().map(ascii).collect()
        } else {
            quote_bytes(text)
        };
        self.pad(quoted.as_bytes(), false);
    }

    fn hexadecimal(&mut self, bytes: &[u8], is_upper: bool) {
        let mut text = String::new();
        for (index, byte) in bytes.iter().enumerate() {
            if index > 0 && self.flags.space {
                text.push(' ');
            }
            if self.flags.sharp && (index == 0 || self.flags.space) {
                text.push_str(if is_upper { "0X" } else { "0x" });
            }
            text.push_str(&if is_upper { format!("{byte:02X}") } else { format!("{byte:02x}") });
        }
        self.pad(text.as_bytes(), false);
    }

    fn list(&mut self, items: &[Value<'static>], verb: char) {
        let is_source = verb == 'v' && self.flags.sharp;
        self.out.extend_from_slice(if is_source { b"[]interface {}{" } else { b"[" });
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.extend_from_slice(if is_source { b", " } else { b" " });
            }
            self.element(item, verb, is_source);
        }
        self.out.push(if is_source { b'}' } else { b']' });
    }

    fn map<'m>(&mut self, entries: impl Iterator<Item = (&'m [u8], Value<'m>)>, type_name: &str, verb: char) {
        let is_source = verb == 'v' && self.flags.sharp;
        self.out.extend_from_slice(if is_source { type_name.as_bytes() } else { b"map" });
        self.out.push(if is_source { b'{' } else { b'[' });
        for (index, (key, value)) in entries.enumerate() {
            if index > 0 {
                self.out.extend_from_slice(if is_source { b", " } else { b" " });
            }
            self.text(key, &Value::borrowed(key), verb);
            self.out.push(b':');
            self.element(&value, verb, is_source);
        }
        self.out.push(if is_source { b'}' } else { b']' });
    }

    fn element(&mut self, value: &Value<'_>, verb: char, is_source: bool) {
        if value.is_nothing() && is_source {
            self.out.extend_from_slice(b"interface {}(nil)");
        } else if value.is_nothing() {
            // Empty places have no value that a verb could be bad for, or that a width could be of.
            self.out.extend_from_slice(b"<nil>");
        } else {
            self.write(value, verb);
        }
    }
}

fn character(number: i64) -> char {
    u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn quoted_character(character: char) -> String {
    match character {
        '\'' => r"'\''".to_owned(),
        '"' => "'\"'".to_owned(),
        character => {
            let quoted = go_quote(character.encode_utf8(&mut [0; 4]));
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

/// Where the first so many characters end.
fn prefix_length(text: &[u8], characters: usize) -> usize {
    crate::template::rune::runes(text).take(characters).map(|(_, length)| length).sum()
}

/// Quotes; a byte that is no text is written as `\xff`.
fn quote_bytes(text: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for chunk in text.utf8_chunks() {
        let inner = go_quote(chunk.valid());
        quoted.push_str(&inner[1..inner.len() - 1]);
        for byte in chunk.invalid() {
            quoted.push_str(&format!("\\x{byte:02x}"));
        }
    }
    quoted.push('"');
    quoted
}

fn ascii(character: char) -> String {
    match u32::from(character) {
        ..0x80 => character.to_string(),
        code @ 0x80..0x1_0000 => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    }
}
