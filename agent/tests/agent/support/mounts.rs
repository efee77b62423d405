//! File systems in memory and other directories, mounted for a test as root may; where that is not allowed the test does without and says so.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What is mounted at a path, gone when this is dropped.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// Mounts one with these options at `path`, over what is there; `None` if that is not allowed here.
    pub(crate) fn at(path: &Path, options: &str) -> Option<Self> {
        Self::mount(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]), path)
    }

    /// Shows the directory `source` at `path` as well.
    pub(crate) fn bound(source: &Path, path: &Path) -> Option<Self> {
        Self::mount(Command::new("mount").arg("--bind").arg(source), path)
    }

    fn mount(command: &mut Command, path: &Path) -> Option<Self> {
        let mount = command.arg(path).output();
        let is_mounted = mount.is_ok_and(|output| output.status.success());
        if !is_mounted {
            println!("skipped: file systems cannot be mounted here");
        }
        is_mounted.then(|| Self(path.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Whoever has files of it open keeps them.
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} is still mounted", self.0.display());
    }
}
