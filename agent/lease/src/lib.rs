//! Whether anybody still has a file open for writing, told by the kernel: it grants a read lease only if nobody has.
//!
//! The lease is given back at once; nothing is held. An opener for writing that comes in between waits for that moment, and the signal that the kernel
//! sends about it is one that is ignored by default. Root needs no capability for files of its own. File systems without leases say so, and then nothing is
//! known. This is a crate of its own because `fcntl` with `F_SETLEASE` has no safe wrapper: these are the agent's only lines that need `unsafe`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Which signal tells that somebody waits for a lease to be given back; Linux' number, which `libc` does not have.
const F_SETSIG: libc::c_int = 10;

/// What the kernel says of a file's writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// Nobody has it open for writing.
    None,
    /// Somebody has.
    Some,
    /// It belongs to another user, or its file system knows no leases.
    Unknown,
}

/// Asks for the writers of `file`, which is open for reading only.
pub fn writers(file: &File) -> Writers {
    // The default, SIGIO, ends a process.
    if control(file, F_SETSIG, libc::SIGURG).is_err() {
        return Writers::Unknown;
    }
    match control(file, libc::F_SETLEASE, libc::F_RDLCK) {
        // Closing the file would give it back as well: a lease that cannot be given back is no longer there.
        Ok(()) => control(file, libc::F_SETLEASE, libc::F_UNLCK).map_or(Writers::Unknown, |()| Writers::None),
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Writers::Some,
        Err(_) => Writers::Unknown,
    }
}

/// A command of `fcntl` that takes a number.
#[allow(unsafe_code, reason = "neither nix nor rustix wraps these commands")]
fn control(file: &File, command: libc::c_int, argument: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as `file` is borrowed, and both commands take a number and touch no memory of this process.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use std::io::Write;

    #[test]
    fn writers_are_seen_as_long_as_they_have_the_file_open_and_none_is_kept_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut writer = File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        if writers(&reader) == Writers::Unknown {
            println!("skipped: no leases on {}", path.display());
            return;
        }
        let second = writer.try_clone().unwrap();
        assert_eq!(writers(&reader), Writers::Some);
        writer.write_all(b"a").unwrap();
        drop(writer);
        assert_eq!(writers(&reader), Writers::Some, "another descriptor of it is open");
        drop(second);
        assert_eq!(writers(&reader), Writers::None);
        let mut again = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        again.write_all(b"b").unwrap();
        assert_eq!(writers(&reader), Writers::Some);
        assert_eq!(std::fs::read(&path).unwrap(), b"ab");
    }

    #[test]
    fn what_is_no_regular_file_has_no_lease() {
        assert_eq!(writers(&File::open("/dev/null").unwrap()), Writers::Unknown);
    }
}
