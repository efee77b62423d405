//! Figures of the process itself, as every exporter gives them: `process_*`, read from `/proc/self` when they are asked for.

use crate::pipeline::counters::sample;

/// Jiffies a second; fixed in the kernel's interface to programs.
const TICKS_A_SECOND: f64 = 100.0;

/// What `/proc/self/stat` says.
#[derive(Debug, PartialEq)]
struct Stat {
    processor_seconds: f64,
    /// After the boot.
    start_seconds: f64,
    virtual_bytes: u64,
}

/// Appends what can be read; what cannot is left out.
pub(crate) fn render(out: &mut String) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut gauge = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            sample(out, name, &[], value);
        }
    };
    let stat = parse_stat(&read("/proc/self/stat"));
    let resident = status_kilobytes(&read("/proc/self/status"), "VmRSS:");
    let booted = read("/proc/stat").lines().find_map(|line| line.strip_prefix("btime ")?.parse::<f64>().ok());
    let started = stat.as_ref().zip(booted).map(|(stat, booted)| booted + stat.start_seconds);
    gauge("process_cpu_seconds_total", "counter", "Processor time used", stat.as_ref().map(|stat| stat.processor_seconds));
    #[allow(clippy::cast_precision_loss, reason = "sizes of memory are far below 2^53")]
    gauge("process_virtual_memory_bytes", "gauge", "Virtual memory", stat.as_ref().map(|stat| stat.virtual_bytes as f64));
    gauge("process_resident_memory_bytes", "gauge", "Resident memory", resident.map(|kilobytes| kilobytes * 1024.0));
    gauge("process_start_time_seconds", "gauge", "When the process began", started);
    #[allow(clippy::cast_precision_loss, reason = "descriptors are few")]
    let open = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
    gauge("process_open_fds", "gauge", "Open descriptors", open);
    gauge("process_max_fds", "gauge", "Most descriptors", max_descriptors(&read("/proc/self/limits")));
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name may hold anything, blanks and brackets included.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some(Stat {
        processor_seconds: (number(11)? + number(12)?) / TICKS_A_SECOND,
        start_seconds: number(19)? / TICKS_A_SECOND,
        virtual_bytes: fields.get(20)?.parse().ok()?,
    })
}

fn status_kilobytes(text: &str, key: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
}

fn max_descriptors(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_whatever_the_name_of_the_process() {
        let text = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 4 0 1234 99999 5";
        assert_eq!(parse_stat(text), Some(Stat { processor_seconds: 2.0, start_seconds: 12.34, virtual_bytes: 99_999 }));
        assert_eq!(parse_stat("junk"), None);
    }

    #[test]
    fn all_series_of_this_process_are_there() {
        let mut text = String::new();
        render(&mut text);
        for name in ["cpu_seconds_total", "resident_memory_bytes", "virtual_memory_bytes", "start_time_seconds", "open_fds", "max_fds"] {
            assert!(text.contains(&format!("\nprocess_{name} ")), "{name} in {text}");
        }
    }
}
