//! Where the programs under test and their companions are.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// A program of this workspace, built beforehand.
pub fn ours(name: &str) -> Result<PathBuf> {
    let folder = match env::var_os("TAILWATER_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        // A test runs as <profile>/deps/<test>, the programs lie in <profile>.
        None => {
            let test = env::current_exe().context("cannot find the running test")?;
            test.ancestors().nth(2).context("the running test lies in no folder of a build")?.to_owned()
        }
    };
    let program = folder.join(name);
    ensure!(program.is_file(), "there is no `{}`, build it first: cargo build --release --bins", program.display());
    Ok(program)
}

/// SeaweedFS, an S3 server that honours conditions.
pub fn weed() -> Result<PathBuf> {
    installed("TAILWATER_WEED", "python/bin/weed")
}

/// An S3 server that ignores conditions.
pub fn s3rver() -> Result<PathBuf> {
    installed("TAILWATER_S3RVER", "npm/node_modules/.bin/s3rver")
}

/// A Python with DuckDB and pyarrow.
pub fn open_files_python() -> Result<PathBuf> {
    installed("TAILWATER_OPEN_FILES_PYTHON", "open-files/bin/python")
}

/// A program of the system.
pub fn in_path(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    // Not in everybody's path, but where Debian installs servers.
    folders.push(PathBuf::from("/usr/sbin"));
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|program| program.is_file());
    found.with_context(|| format!("there is no `{name}`, install it with `bash tests/run --install`"))
}

/// The repository's root.
pub fn repository() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map(PathBuf::from).expect("the crate lies two folders below the root")
}

fn installed(variable: &str, place: &str) -> Result<PathBuf> {
    let program = match env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => tools_folder()?.join(place),
    };
    ensure!(program.is_file(), "there is no `{}`, install it with `bash tests/run --install`", program.display());
    Ok(program)
}

/// The folder `tests/run` installs into.
pub fn tools_folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("TAILWATER_TOOLS_DIR") {
        return Ok(PathBuf::from(folder));
    }
    let cache = match env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(cache.join("tailwater/tools"))
}
