//! Prints the table: a line for each figure, beside what others reached, what must be reached, and what was reached last.

use crate::ask::Verdict;
use crate::baseline::{Target, published, target};
use crate::figures::Figure;
use crate::options::DataSize;
use crate::results::{Results, Saved};

/// A smaller change is not worth a word.
const NOTABLE_PERCENT: f64 = 0.5;

pub(crate) fn print(figures: &[Figure], size: &DataSize, last: Option<&Results>) {
    println!(
        "{:<40} {:>16} {:>9} {:>16} {:>8} {:>9} {:>9} {:<6} {:>9} {:>8}  ",
        "", "tailwater", "longest", "yardsticks", "Loki", "Victoria", "target", "", "last", "change"
    );
    for figure in figures {
        println!("{}", row(figure, size, last.and_then(|last| last.figures.get(&figure.key))).trim_end());
    }
    for figure in figures {
        match &figure.verdict {
            Verdict::Right => {}
            Verdict::Wrong(text) => println!("WRONG    {}: {text}", figure.name),
            Verdict::Refused(text) => println!("refused  {}: {text}", figure.name),
        }
    }
}

fn row(figure: &Figure, size: &DataSize, last: Option<&Saved>) -> String {
    let (loki, victoria_logs) = published(&figure.key, size);
    let target = target(&figure.key, size);
    let value = figure.value.map_or_else(|| "refused".to_owned(), |value| format!("{} {}", short(value), figure.unit));
    let ratio = figure.ratio.map_or_else(String::new, |(ratio, yardstick)| format!("{} × {yardstick}", short(ratio)));
    let number = |number: Option<f64>| number.map_or_else(String::new, short);
    let last_value = last.and_then(|last| last.value);
    format!(
        "{:<40} {value:>16} {:>9} {ratio:>16} {:>8} {:>9} {:>9} {:<6} {:>9} {:>8}  {}",
        figure.name,
        number(figure.largest),
        number(loki),
        number(victoria_logs),
        target.map_or_else(String::new, told),
        verdict(figure, target),
        number(last_value),
        change(figure.value, last_value),
        figure.note,
    )
}

fn told(target: Target) -> String {
    match target {
        Target::AtMost(limit) => format!("≤ {}", short(limit)),
        Target::AtLeast(limit) => format!("≥ {}", short(limit)),
        Target::TimesYardstick(limit) => format!("≤ {} ×", short(limit)),
    }
}

fn verdict(figure: &Figure, target: Option<Target>) -> &'static str {
    match (&figure.verdict, target, figure.value) {
        (Verdict::Wrong(_), ..) => "WRONG",
        (_, Some(target), Some(value)) if target.is_met(value, figure.ratio.map(|(ratio, _)| ratio)) => "ok",
        (_, Some(_), _) => "MISSED",
        (_, None, _) => "",
    }
}

fn change(value: Option<f64>, last: Option<f64>) -> String {
    let Some((value, last)) = value.zip(last).filter(|(_, last)| *last != 0.0) else { return String::new() };
    let percent = (value / last - 1.0) * 100.0;
    if percent.abs() < NOTABLE_PERCENT { "=".to_owned() } else { format!("{percent:+.0} %") }
}

/// Three digits, or all of a large number.
fn short(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        size if size < 1.0 => format!("{number:.3}"),
        size if size < 10.0 => trimmed(format!("{number:.2}")),
        size if size < 100.0 => trimmed(format!("{number:.1}")),
        _ => format!("{number:.0}"),
    }
}

fn trimmed(number: String) -> String {
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: Option<f64>, verdict: Verdict) -> Figure {
        let (key, name) = ("count_uuid".to_owned(), "count of a uuid".to_owned());
        Figure { key, name, unit: "ms", value, largest: None, ratio: Some((2.0, "rg")), note: "12 CPU ms".to_owned(), verdict }
    }

    #[test]
    fn a_row_tells_target_verdict_and_change() {
        let size = DataSize::parse("500m").unwrap();
        let last = Saved { value: Some(10.0), unit: "ms".to_owned(), ratio: None };
        let met = row(&figure(Some(9.0), Verdict::Right), &size, Some(&last));
        assert!(
            met.contains("9 ms") && met.contains("2 × rg") && met.contains("3394") && met.contains("ok") && met.contains("-10 %"),
            "{met}"
        );
        assert!(row(&figure(Some(11.0), Verdict::Right), &size, None).contains("MISSED"));
        assert!(row(&figure(Some(1.0), Verdict::Wrong(String::new())), &size, None).contains("WRONG"));
        let refused = row(&figure(None, Verdict::Refused(String::new())), &size, None);
        assert!(refused.contains("refused") && refused.contains("MISSED"), "{refused}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 0.1234, 2.0, 2.345, 12.34, 1234.5].map(short), ["0", "0.123", "2", "2.35", "12.3", "1234"]);
    }
}
