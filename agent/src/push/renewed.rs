//! What is made from files, and made anew when one of them changes and after its life: an HTTP client with its certificates and connections.
//!
//! A file that cannot be used leaves what is there in use, and is tried again.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::receiver::ReceiverError;

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Make<T> = Box<dyn Fn() -> Result<T, ReceiverError> + Send + Sync>;

pub(super) struct Renewed<T> {
    make: Make<T>,
    files: Vec<PathBuf>,
    life: Duration,
    current: Mutex<Current<T>>,
}

struct Current<T> {
    made: T,
    at: Instant,
    /// When each file was changed, as it was made.
    changed: Vec<Option<SystemTime>>,
    next_look: Instant,
}

impl<T> std::fmt::Debug for Renewed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewed").field("files", &self.files).field("life", &self.life).finish_non_exhaustive()
    }
}

impl<T: Clone> Renewed<T> {
    /// Makes the first one from `files`; each is used for `life` at most.
    pub(super) fn new(
        make: impl Fn() -> Result<T, ReceiverError> + Send + Sync + 'static,
        files: Vec<PathBuf>,
        life: Duration,
        now: Instant,
    ) -> Result<Self, ReceiverError> {
        // Before they are read: a change in between shows at the next look.
        let changed = times(&files);
        let current = Mutex::new(Current { made: make()?, at: now, changed, next_look: now + LOOK_EVERY });
        Ok(Self { make: Box::new(make), files, life, current })
    }

    /// The one to be used at `now`.
    pub(super) fn get(&self, now: Instant) -> T {
        let mut current = self.current.lock();
        if now < current.next_look {
            return current.made.clone();
        }
        current.next_look = now + LOOK_EVERY;
        let changed = times(&self.files);
        if changed == current.changed && now.saturating_duration_since(current.at) < self.life {
            return current.made.clone();
        }
        match (self.make)() {
            Ok(made) => (current.made, current.at, current.changed) = (made, now, changed),
            Err(error) => tracing::warn!(error = %error, "cannot use changed certificates; going on with those before"),
        }
        current.made.clone()
    }
}

fn times(files: &[PathBuf]) -> Vec<Option<SystemTime>> {
    files.iter().map(|path| path.metadata().and_then(|metadata| metadata.modified()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    const LIFE: Duration = Duration::from_secs(300);

    #[test]
    fn it_is_made_anew_after_its_life_and_when_a_file_changes_but_not_from_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let write = |text: &str, age: u64| {
            std::fs::write(&path, text).unwrap();
            let time = SystemTime::now() - Duration::from_secs(age);
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        };
        write("one", 50);
        let read = path.clone();
        let make = move || match std::fs::read_to_string(&read).unwrap() {
            text if text.contains("wrong") => Err(ReceiverError::Url { url: text }),
            text => Ok(text),
        };
        let now = Instant::now();
        let renewed = Renewed::new(make, vec![path.clone()], LIFE, now).unwrap();
        let at = |seconds: u64| renewed.get(now + Duration::from_secs(seconds));
        assert_eq!(at(0), "one");
        write("two", 45);
        assert_eq!(at(10), "two", "its time of change is another one");
        write("wrong", 40);
        assert_eq!(at(20), "two");
        write("three", 30);
        assert_eq!(at(30), "three");
        // Changed without a sign: only the end of its life shows it.
        let time = path.metadata().unwrap().modified().unwrap();
        std::fs::write(&path, "four").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        assert_eq!(at(329), "three");
        assert_eq!(at(331), "four");
    }
}
