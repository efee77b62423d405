//! Floating point numbers as Go writes them.

/// A number by one of the verbs `e E f F g G b`, sign included; `precision` counts digits behind the point, or all
/// of `g`. `None` asks for the shortest text that reads back.
pub(super) fn float_text(value: f64, verb: char, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    match verb {
        'e' | 'E' => with_exponent(value, precision, verb),
        'f' | 'F' => precision.map_or_else(|| format!("{value}"), |precision| format!("{value:.precision$}")),
        'b' => mantissa_text(value),
        _ => general(value, precision, verb),
    }
}

/// `1.5e+06`: an exponent of at least two digits.
fn with_exponent(value: f64, precision: Option<usize>, verb: char) -> String {
    let text = precision.map_or_else(|| format!("{value:e}"), |precision| format!("{value:.precision$e}"));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let sign = if exponent.starts_with('-') { '-' } else { '+' };
    let letter = if verb.is_ascii_uppercase() { 'E' } else { 'e' };
    format!("{mantissa}{letter}{sign}{:0>2}", exponent.trim_start_matches('-'))
}

/// The exponent is written where it is below -4, or not below the digits asked for; where none were, six decide.
fn general(value: f64, precision: Option<usize>, verb: char) -> String {
    // What needs no exponent, as most do not: without asking what it would be.
    if precision.is_none() && (value == 0.0 || (1e-4..1e6).contains(&value.abs())) {
        return format!("{value}");
    }
    let letter = if verb == 'G' { 'E' } else { 'e' };
    let digits = precision.map(|precision| precision.max(1));
    let scientific = with_exponent(value, digits.map(|digits| digits - 1), letter);
    let (mantissa, exponent) = scientific.split_once(letter).unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let limit = i32::try_from(digits.unwrap_or(6)).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= limit {
        return match digits {
            Some(_) => format!("{}{}", without_trailing_zeros(mantissa), &scientific[mantissa.len()..]),
            None => scientific,
        };
    }
    match digits {
        Some(digits) => {
            let behind_point = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
            without_trailing_zeros(&format!("{value:.behind_point$}")).to_owned()
        }
        None => format!("{value}"),
    }
}

fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// `4503599627370496p-52`
fn mantissa_text(value: f64) -> String {
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let exponent = (bits >> 52 & 0x7ff) as i32;
    let (mantissa, exponent) = if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) };
    let sign = if value.is_sign_negative() { "-" } else { "" };
    format!("{sign}{mantissa}p{exponent:+}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_in_go() {
        for (value, verb, precision, expected) in [
            (2.675, 'f', Some(2), "2.67"),
            (2.5, 'f', Some(0), "2"),
            (1e6, 'f', None, "1000000"),
            (1e6, 'e', Some(6), "1.000000e+06"),
            (-0.5, 'E', Some(1), "-5.0E-01"),
            (1e100, 'e', None, "1e+100"),
            (100000.0, 'g', Some(6), "100000"),
            (1_000_000.0, 'g', Some(6), "1e+06"),
            (0.0001, 'g', Some(6), "0.0001"),
            (0.00001, 'g', Some(6), "1e-05"),
            (1234567.0, 'g', Some(3), "1.23e+06"),
            (123.456, 'g', Some(4), "123.5"),
            (0.0, 'g', None, "0"),
            (100000.0, 'g', None, "100000"),
            (1e6, 'g', None, "1e+06"),
            (123456789.0, 'g', None, "1.23456789e+08"),
            (0.00001234, 'g', None, "1.234e-05"),
            (2.56, 'g', None, "2.56"),
            (-0.0, 'g', None, "-0"),
            (1.0, 'b', None, "4503599627370496p-52"),
            (f64::NAN, 'f', None, "NaN"),
            (f64::NEG_INFINITY, 'f', Some(2), "-Inf"),
        ] {
            assert_eq!(float_text(value, verb, precision), expected, "{value} {verb} {precision:?}");
        }
    }
}
