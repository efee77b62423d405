//! `printf`: a text with verbs.

use super::verb::Writer;
use crate::template::Environment;
use crate::template::budget::Budget;
use crate::template::value::Value;

/// Beyond this a width or a precision counts as broken.
const MAXIMUM_WIDTH: i64 = 1_000_000;

/// Appends the formatted text. `Err` only where the budget is used up.
pub(in crate::template) fn printf(
    format: &str,
    values: &[Value<'_>],
    environment: &dyn Environment,
    data_type: &'static str,
    budget: &mut Budget,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let mut printer = Printer { rest: format, values, next: 0, is_reordered: false, is_index_good: true, was_reordered: false };
    while let Some((before, after)) = printer.rest.split_once('%') {
        out.extend_from_slice(before.as_bytes());
        printer.rest = after;
        let start = out.len();
        printer.verb(&mut Writer::new(out, environment, data_type), &mut |width| budget.text(width))?;
        budget.text(out.len() - start)?;
    }
    out.extend_from_slice(printer.rest.as_bytes());
    if !printer.was_reordered && printer.next < values.len() {
        extra(&values[printer.next..], environment, data_type, out);
    }
    Ok(())
}

/// `%!(EXTRA int=1, string=x)`
fn extra(values: &[Value<'_>], environment: &dyn Environment, data_type: &'static str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"%!(EXTRA ");
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        if value.is_nothing() {
            out.extend_from_slice(b"<nil>");
        } else {
            out.extend_from_slice(value.type_name(data_type).as_bytes());
            out.push(b'=');
            Writer::new(out, environment, data_type).write(value, 'v');
        }
    }
    out.push(b')');
}

struct Printer<'p, 'v> {
    rest: &'p str,
    values: &'p [Value<'v>],
    next: usize,
    /// Whether this verb named its argument by number.
    is_reordered: bool,
    is_index_good: bool,
    was_reordered: bool,
}

impl Printer<'_, '_> {
    /// Everything behind a `%`.
    fn verb(&mut self, writer: &mut Writer<'_>, reserve: &mut dyn FnMut(usize) -> Result<(), String>) -> Result<(), String> {
        self.is_index_good = true;
        self.is_reordered = false;
        self.flags(writer);
        self.argument_number();
        self.width(writer);
        self.precision(writer);
        if !self.is_reordered {
            self.argument_number();
        }
        let Some(verb) = self.rest.chars().next() else {
            writer.literal("%!(NOVERB)");
            return Ok(());
        };
        self.rest = &self.rest[verb.len_utf8()..];
        reserve(writer.flags.width.unwrap_or(0).max(writer.flags.precision.unwrap_or(0)))?;
        if verb == '%' {
            writer.literal("%");
        } else if !self.is_index_good {
            writer.literal(&format!("%!{verb}(BADINDEX)"));
        } else if let Some(value) = self.values.get(self.next) {
            self.next += 1;
            writer.write(value, verb);
        } else {
            writer.literal(&format!("%!{verb}(MISSING)"));
        }
        self.was_reordered |= self.is_reordered;
        Ok(())
    }

    fn flags(&mut self, writer: &mut Writer<'_>) {
        while let Some(flag) = self.rest.bytes().next() {
            match flag {
                b'#' => writer.flags.sharp = true,
                b'0' => writer.flags.zero = true,
                b'+' => writer.flags.plus = true,
                b'-' => writer.flags.minus = true,
                b' ' => writer.flags.space = true,
                _ => return,
            }
            self.rest = &self.rest[1..];
        }
    }

    fn width(&mut self, writer: &mut Writer<'_>) {
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.rest = rest;
            match self.integer_argument() {
                Some(width) => {
                    writer.flags.minus |= width < 0;
                    writer.flags.width = Some(width.unsigned_abs() as usize);
                }
                None => writer.literal("%!(BADWIDTH)"),
            }
            self.is_reordered = false;
            return;
        }
        let had_number = self.is_reordered;
        writer.flags.width = self.number();
        if had_number && writer.flags.width.is_some() {
            // `%[3]2d`: the number of an argument stands before the verb.
            self.is_index_good = false;
        }
    }

    fn precision(&mut self, writer: &mut Writer<'_>) {
        let Some(rest) = self.rest.strip_prefix('.') else { return };
        self.rest = rest;
        if self.is_reordered {
            self.is_index_good = false;
        }
        self.argument_number();
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.rest = rest;
            match self.integer_argument() {
                Some(precision) if precision >= 0 => writer.flags.precision = Some(precision as usize),
                Some(_) => {}
                None => writer.literal("%!(BADPREC)"),
            }
            self.is_reordered = false;
            return;
        }
        writer.flags.precision = Some(self.number().unwrap_or(0));
    }

    /// `[n]` names the next argument.
    fn argument_number(&mut self) {
        let Some(rest) = self.rest.strip_prefix('[') else { return };
        self.is_reordered = true;
        let Some((number, after)) = rest.split_once(']') else {
            self.is_index_good = false;
            self.rest = rest;
            return;
        };
        self.rest = after;
        match number.parse::<usize>() {
            Ok(number) if (1..=self.values.len()).contains(&number) => self.next = number - 1,
            _ => self.is_index_good = false,
        }
    }

    fn number(&mut self) -> Option<usize> {
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = self.rest[..digits].parse::<i64>().ok().filter(|number| *number <= MAXIMUM_WIDTH);
        self.rest = &self.rest[digits..];
        number.map(|number| number as usize)
    }

    fn integer_argument(&mut self) -> Option<i64> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        match value {
            Value::Integer(number, _) if number.unsigned_abs() <= MAXIMUM_WIDTH as u64 => Some(*number),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::template::tests::Labels;
    use crate::template::value::IntegerType;

    fn formatted(format: &str, values: &[Value<'_>]) -> String {
        let mut out = Vec::new();
        printf(format, values, &Labels::default(), "map[string]string", &mut Budget::new(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn verbs_write_as_in_go() {
        let text = |text: &str| Value::text(text);
        let int = Value::int;
        for (format, values, expected) in [
            ("%s-%v", vec![text("a"), int(1)], "a-1"),
            ("%5s|%-5s|%.1s|%05s", vec![text("é"), text("b"), text("éa"), text("x")], "    é|b    |é|    x"),
            (
                "%5d|%-5d|%05d|%+d|% d|%x|%X|%#x|%o|%b|%c|%U",
                vec![int(7), int(7), int(-7), int(7), int(7), int(255), int(255), int(255), int(8), int(5), int(97), int(97)],
                "    7|7    |-0007|+7| 7|ff|FF|0xff|10|101|a|U+0061",
            ),
            ("%08b|%.3d|%#o", vec![int(5), int(5), int(8)], "00000101|005|010"),
            ("%q %q %+q %#q", vec![text("a\"b"), int(39), text("é"), text("a")], r#""a\"b" '\'' "\u00e9" `a`"#),
            ("%x|% x|%X|%#x", vec![text("hi"), text("hi"), text("hi"), text("hi")], "6869|68 69|6869|0x6869"),
            ("%f|%.2f|%8.3f|%-8.1f|%08.2f|%+.1f", vec![Value::Float(2.675); 6], "2.675000|2.67|   2.675|2.7     |00002.67|+2.7"),
            ("%e|%g|%G|%v", vec![Value::Float(1e6); 4], "1.000000e+06|1e+06|1E+06|1e+06"),
            ("%t %v", vec![Value::Bool(true), Value::Bool(false)], "true false"),
            ("%T %T %T %T", vec![text(""), int(1), Value::Float(1.0), Value::Root], "string int float64 map[string]string"),
            ("%#v %#q %#v %#v", vec![text("a\"b"), text("a"), int(9), Value::Integer(97, IntegerType::Byte)], r#""a\"b" `a` 9 0x61"#),
            ("%d", vec![text("7")], "%!d(string=7)"),
            ("%5d", vec![text("7")], "%!d(string=    7)"),
            ("%s", vec![int(7)], "%!s(int=7)"),
            ("%s %v %d", vec![Value::Nil, Value::Nil, Value::Nothing], "%!s(<nil>) <nil> %!d(<nil>)"),
            ("%z", vec![int(1)], "%!z(int=1)"),
            ("%d %d", vec![int(1)], "1 %!d(MISSING)"),
            ("%d", vec![int(1), text("x")], "1%!(EXTRA string=x)"),
            ("100%", vec![], "100%!(NOVERB)"),
            ("%%|%5%", vec![], "%|%"),
            ("%[2]d %[1]d", vec![int(1), int(2)], "2 1"),
            ("%[5]d", vec![int(1)], "%!d(BADINDEX)"),
            ("%*d|%-*d|%.*f", vec![int(4), int(1), int(3), int(2), int(1), Value::Float(2.25)], "   1|2  |2.2"),
            ("%*d", vec![text("x"), int(1)], "%!(BADWIDTH)1"),
            ("%v %d", vec![Value::Integer(1, IntegerType::Month), Value::Integer(1, IntegerType::Month)], "January 1"),
            ("%s", vec![Value::Integer(90_000_000_000, IntegerType::Duration)], "1m30s"),
            ("%v", vec![Value::List(vec![int(1), Value::Nil, text("a")].into_iter().map(owned).collect())], "[1 <nil> a]"),
            ("%8v", vec![Value::List(vec![int(1), Value::Nil].into_iter().map(owned).collect())], "[       1 <nil>]"),
        ] {
            assert_eq!(formatted(format, &values), expected, "{format}");
        }
    }

    fn owned(value: Value<'_>) -> Value<'static> {
        match value {
            Value::Text(text) => Value::text(text.into_owned()),
            Value::Integer(value, integer) => Value::Integer(value, integer),
            _ => Value::Nil,
        }
    }
}
