//! The frame of a drill: a folder for what it writes, a runtime, figures.

use std::env;
use std::fs::{self, OpenOptions};
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

/// A folder that is removed when the drill was good.
#[derive(Debug, Clone)]
pub struct Folder(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    path: PathBuf,
}

impl Folder {
    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// A folder below it, made if missing.
    pub fn below(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.path.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

/// Runs a drill; a failure ends the test with its text and says where the logs are.
pub fn drill<F>(name: &str, body: impl FnOnce(Folder) -> F)
where
    F: Future<Output = Result<()>>,
{
    // An error means that a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let path = new_folder(name);
    println!("drill {name}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let notice = Notice(&path);
    let outcome = runtime.block_on(body(Folder(Arc::new(Kept { path: path.clone() }))));
    match outcome {
        Ok(()) => {
            std::mem::forget(notice);
            if let Err(error) = fs::remove_dir_all(&path) {
                println!("cannot remove `{}`: {error}", path.display());
            }
        }
        Err(error) => panic!("{error:#}"),
    }
}

/// Says where the logs are while the test goes down.
struct Notice<'a>(&'a Path);

impl Drop for Notice<'_> {
    fn drop(&mut self) {
        println!("what the drill wrote is in `{}`", self.0.display());
    }
}

/// World-readable, because nginx's workers are somebody else when the test is root.
fn new_folder(name: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let parent = env::var_os("TAILWATER_E2E_DIR").map_or_else(env::temp_dir, PathBuf::from);
    fs::create_dir_all(&parent).expect("the folder of drills can be made");
    let folder = tempfile::Builder::new().prefix(&format!("tailwater-{name}-")).tempdir_in(parent);
    let path = folder.expect("a folder for the drill can be made").keep();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the folder is ours");
    path
}

/// Prints a line of figures, and appends it to the file in `TAILWATER_E2E_REPORT`.
pub fn report(text: &str) {
    println!("FIGURES {text}");
    let Some(path) = env::var_os("TAILWATER_E2E_REPORT") else { return };
    let written = OpenOptions::new().append(true).create(true).open(path).and_then(|mut file| writeln!(file, "{text}"));
    if let Err(error) = written {
        println!("cannot append to the report: {error}");
    }
}

/// The size of trees: `TAILWATER_E2E_BYTES`, else what the drill wants. Plain bytes or with `k`, `m`, `g`.
pub fn tree_bytes(wanted: u64) -> u64 {
    env::var("TAILWATER_E2E_BYTES").ok().and_then(|text| parse_size(&text)).unwrap_or(wanted)
}

/// Plain bytes or with `k`, `m`, `g`.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.trim_end_matches(['k', 'm', 'g']);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_shl(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_size("300m"), Some(300 << 20));
        assert_eq!(parse_size("17"), Some(17));
        assert_eq!(parse_size("1x"), None);
        assert_eq!(parse_size("1mm"), None);
    }
}
