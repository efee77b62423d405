//! `podwriter`: writes a pod-log tree of a given size and its manifest, or goes on writing until it is killed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;

use tailwater_podwriter::{BatchOptions, LiveOptions, TreeOptions, UnixNanoseconds, Writer, generate};

const USAGE: &str = "\
Writes a pod-log tree as a container runtime does.

    podwriter --out DIR --bytes 300m [--manifest FILE] [options]
    podwriter --out DIR --live [options]

Sizes take k, m or g (powers of 1024); shares are numbers from 0 to 1.
  --out DIR                    the tree's folder (empty, unless --live)
  --bytes SIZE                 bytes of the files together
  --live                       write with stamps of the clock until killed; a later run goes on
  --manifest FILE              where the manifest goes (default: standard output)
  --seed N                     default 1
  --pods N                     default 12
  --rotate-bytes SIZE          default 10m
  --max-files N                files kept of a container (default: all; with --live 5)
  --piece-bytes SIZE           longest record text, default 16k
  --partial-share X            lines cut at random places, default 0.01
  --long-line-share X          lines of 17 to 60 KiB, default 0.0002
  --second-stream-share X      lines in the stream used less, default 0.1
  --repeat-share X             lines that repeat the one before, default 0
  --rotation-cut-share X       rotations that cut a line in two, default 0.25
  --utc-offset-minutes N       the node's zone, default 0
  --start-ns N|now             first stamp; `now` lets the last stamp be about the present (default 2026-01-01)
  --lines-per-second X         simulated rate of stamps, with --live the real one; default 5000
  --stamp-granularity-ns N     stamps are cut to multiples of this, default 1
  --pace X                     real lines per second at most (default: no limit)
  --no-needles                 plant nothing
";
/// About what a record is long, to find the start of a tree that shall end now.
const BYTES_PER_LINE: f64 = 250.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() || arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("podwriter: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// The command line, parsed.
#[derive(Debug)]
struct Command {
    batch: BatchOptions,
    is_live: bool,
    starts_now: bool,
    manifest: Option<PathBuf>,
}

fn run(arguments: &[String]) -> Result<(), String> {
    let mut command = parse(arguments)?;
    if command.is_live {
        let mut tree = command.batch.tree;
        tree.max_files = tree.max_files.or(Some(5));
        let options = LiveOptions { tree, lines_per_second: command.batch.lines_per_second };
        let mut writer = Writer::new(&options, UnixNanoseconds::now()).map_err(|error| error.to_string())?;
        return writer.run(&AtomicBool::new(false)).map_err(|error| error.to_string());
    }
    if command.starts_now {
        let seconds = command.batch.total_bytes as f64 / BYTES_PER_LINE / command.batch.lines_per_second;
        command.batch.start = UnixNanoseconds(UnixNanoseconds::now().0.saturating_sub((seconds * 1e9) as i64));
    }
    let manifest = generate(&command.batch).map_err(|error| error.to_string())?;
    match &command.manifest {
        Some(path) => manifest.write(path).map_err(|error| error.to_string()),
        None => {
            print!("{}", manifest.to_json());
            Ok(())
        }
    }
}

fn parse(arguments: &[String]) -> Result<Command, String> {
    let tree = TreeOptions::new("", 1);
    let mut command = Command { batch: BatchOptions::new(tree, 0), is_live: false, starts_now: false, manifest: None };
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        match name.as_str() {
            "--live" => command.is_live = true,
            "--no-needles" => command.batch.needles = false,
            _ => {
                let value = rest.next().ok_or_else(|| format!("`{name}` needs a value; see --help"))?;
                set(&mut command, name, value)?;
            }
        }
    }
    if command.batch.tree.directory.as_os_str().is_empty() {
        return Err("name the tree's folder with `--out DIR`".to_owned());
    }
    if !command.is_live && command.batch.total_bytes == 0 {
        return Err("say how much to write with `--bytes SIZE`, or `--live`".to_owned());
    }
    Ok(command)
}

fn set(command: &mut Command, name: &str, value: &str) -> Result<(), String> {
    let batch = &mut command.batch;
    let tree = &mut batch.tree;
    match name {
        "--out" => tree.directory = PathBuf::from(value),
        "--manifest" => command.manifest = Some(PathBuf::from(value)),
        "--bytes" => batch.total_bytes = size(name, value)?,
        "--seed" => tree.seed = number(name, value)?,
        "--pods" => tree.pods = number(name, value)?,
        "--rotate-bytes" => tree.rotate_bytes = size(name, value)?,
        "--max-files" => tree.max_files = Some(number(name, value)?),
        "--piece-bytes" => tree.piece_bytes = usize::try_from(size(name, value)?).map_err(|error| error.to_string())?,
        "--partial-share" => tree.partial_share = number(name, value)?,
        "--long-line-share" => tree.long_line_share = number(name, value)?,
        "--second-stream-share" => tree.second_stream_share = number(name, value)?,
        "--repeat-share" => tree.repeat_share = number(name, value)?,
        "--rotation-cut-share" => tree.rotation_cut_share = number(name, value)?,
        "--utc-offset-minutes" => tree.utc_offset_minutes = number(name, value)?,
        "--start-ns" if value == "now" => command.starts_now = true,
        "--start-ns" => batch.start = UnixNanoseconds(number(name, value)?),
        "--lines-per-second" => batch.lines_per_second = number(name, value)?,
        "--stamp-granularity-ns" => batch.stamp_granularity = number(name, value)?,
        "--pace" => batch.pace = Some(number(name, value)?),
        _ => return Err(format!("no option `{name}`; see --help")),
    }
    Ok(())
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("`{name} {value}`: expected a number"))
}

/// A number with `k`, `m` or `g` behind it, or without.
fn size(name: &str, value: &str) -> Result<u64, String> {
    let lower = value.to_ascii_lowercase();
    let (digits, shift) = match lower.as_bytes().last() {
        Some(b'k') => (&lower[..lower.len() - 1], 10),
        Some(b'm') => (&lower[..lower.len() - 1], 20),
        Some(b'g') => (&lower[..lower.len() - 1], 30),
        _ => (lower.as_str(), 0),
    };
    let number: u64 = number(name, digits)?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("`{name} {value}` is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn options_reach_their_fields() {
        let command =
            parse(&arguments("--out x --bytes 300m --seed 7 --repeat-share 0.05 --start-ns now --no-needles --pace 1e3")).unwrap();
        assert_eq!(command.batch.total_bytes, 300 << 20);
        assert_eq!(command.batch.tree.seed, 7);
        assert_eq!(command.batch.tree.repeat_share, 0.05);
        assert_eq!(command.batch.pace, Some(1000.0));
        assert!(command.starts_now && !command.batch.needles);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("--out x", "--bytes"),
            ("--bytes 1", "--out"),
            ("--out x --bytes 1q", "1q"),
            ("--out x --bytes 1 --speed 2", "--speed"),
            ("--out x --bytes", "needs a value"),
            ("--out x --bytes 99999999999999g", "too large"),
        ] {
            assert!(parse(&arguments(text)).unwrap_err().contains(part), "{text}");
        }
    }
}
