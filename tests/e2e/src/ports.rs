//! Ports that nobody uses, also not the drill that runs beside this one.
//!
//! Ports are handed out in turn from a range below the one the system gives to outgoing connections, so that none is
//! taken between being found free and being used. The turn is kept in a file under a lock.

use std::fs::OpenOptions;
use std::io::{Read, Seek, Write};
use std::net::TcpListener;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

const FIRST: u16 = 20_000;
const LAST: u16 = 31_999;

/// A port on the loopback interface.
pub fn free() -> Result<u16> {
    let path = std::env::temp_dir().join("tailwater-e2e-next-port");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("cannot open `{}`", path.display()))?;
    let mut file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error).context("cannot lock the turn of ports")?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let mut next = text.trim().parse().unwrap_or(FIRST);
    for _ in FIRST..=LAST {
        let port = next;
        next = if !(FIRST..LAST).contains(&port) { FIRST } else { port + 1 };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{next}")?;
            return Ok(port);
        }
    }
    bail!("no port from {FIRST} to {LAST} is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_handed_out_twice_in_a_row() {
        let first = free().unwrap();
        let second = free().unwrap();
        assert_ne!(first, second);
        assert!((FIRST..=LAST).contains(&first) && (FIRST..=LAST).contains(&second));
    }
}
