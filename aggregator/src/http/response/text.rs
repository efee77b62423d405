//! Strings, sample values and times in JSON, byte for byte as clients of Loki know them.

use std::io::Write;

use tailwater_logql::labels::LabelSet;

/// Appends a string in quotes. `<`, `>` and `&` are escaped, each invalid byte becomes U+FFFD.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        write_escaped(out, chunk.valid().as_bytes());
        for _ in chunk.invalid() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

/// Appends `"warnings":[…],` if there are any.
pub(crate) fn write_warnings(out: &mut Vec<u8>, warnings: &[String]) {
    if warnings.is_empty() {
        return;
    }
    out.extend_from_slice(br#""warnings":"#);
    write_strings(out, warnings);
    out.push(b',');
}

/// Appends `["…","…"]`.
pub(crate) fn write_strings(out: &mut Vec<u8>, texts: &[String]) {
    out.push(b'[');
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, text.as_bytes());
    }
    out.push(b']');
}

fn write_escaped(out: &mut Vec<u8>, text: &[u8]) {
    const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";
    let mut copied = 0;
    for (index, &byte) in text.iter().enumerate() {
        if byte >= 0x20 && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&') {
            continue;
        }
        out.extend_from_slice(&text[copied..index]);
        copied = index + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => {
                out.extend_from_slice(b"\\u00");
                out.push(HEXADECIMAL[usize::from(other >> 4)]);
                out.push(HEXADECIMAL[usize::from(other & 0xf)]);
            }
        }
    }
    out.extend_from_slice(&text[copied..]);
}

/// Appends `{"a":"b"}`.
pub(crate) fn write_labels(out: &mut Vec<u8>, labels: &LabelSet) {
    out.push(b'{');
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, name.as_bytes());
        out.push(b':');
        write_string(out, value.as_bytes());
    }
    out.push(b'}');
}

/// Appends a sample value: the shortest decimal that reads back the same, never with an exponent.
pub(crate) fn write_value(out: &mut Vec<u8>, value: f64) {
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else {
        write(out, format_args!("{value}"));
    }
}

/// Appends a sample's time (nanoseconds since the epoch): seconds, with up to 3 decimals.
pub(crate) fn write_seconds(out: &mut Vec<u8>, nanoseconds: i64) {
    let milliseconds = nanoseconds.div_euclid(1_000_000);
    let (sign, magnitude) = (if milliseconds < 0 { "-" } else { "" }, milliseconds.unsigned_abs());
    write(out, format_args!("{sign}{}", magnitude / 1000));
    let fraction = magnitude % 1000;
    if fraction > 0 {
        let text = format!("{fraction:03}");
        write(out, format_args!(".{}", text.trim_end_matches('0')));
    }
}

pub(crate) fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("valid text")
    }

    #[test]
    fn strings_are_escaped_for_browsers_too() {
        assert_eq!(written(|out| write_string(out, b"a<b>&\"\\\n\x01\x7f")), "\"a\\u003cb\\u003e\\u0026\\\"\\\\\\n\\u0001\x7f\"");
        assert_eq!(written(|out| write_string(out, b"a\xff\xc3")), "\"a\u{fffd}\u{fffd}\"");
    }

    #[test]
    fn values_have_no_exponent() {
        for (value, expected) in [
            (1.0, "1"),
            (-0.5, "-0.5"),
            (1e20, "100000000000000000000"),
            (1e-7, "0.0000001"),
            (0.1 + 0.2, "0.30000000000000004"),
            (123_456_789.123_456_79, "123456789.12345679"),
            (0.000_010_683_760_683_760_684, "0.000010683760683760684"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(written(|out| write_value(out, value)), expected);
        }
    }

    #[test]
    fn times_have_milliseconds_only_where_there_are_any() {
        for (nanoseconds, expected) in [
            (1_795_251_780_000_000_000, "1795251780"),
            (1_768_471_259_999_000_064, "1768471259.999"),
            (1_768_471_260_250_000_000, "1768471260.25"),
            (-500_000_000, "-0.5"),
            (0, "0"),
        ] {
            assert_eq!(written(|out| write_seconds(out, nanoseconds)), expected);
        }
    }

    proptest! {
        #[test]
        fn strings_are_read_back(text in any::<String>()) {
            let json = written(|out| write_string(out, text.as_bytes()));
            prop_assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), text);
        }

        #[test]
        fn values_are_read_back(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
            prop_assert_eq!(written(|out| write_value(out, value)).parse::<f64>().expect("a number"), value);
        }
    }
}
