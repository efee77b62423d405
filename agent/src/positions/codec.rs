//! The positions file as bytes.
//!
//! ```text
//! {"crc32c":"89abcdef","body":{"version":1,"generation":7,"files":[...],"instances":[...]}}\n
//! ```
//! The checksum covers the bytes of the body, version and generation included. The frame is compared byte by byte, so one flipped bit
//! anywhere makes the file unreadable, and an unreadable file is only ever replaced, never repaired.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::pairs::PackedPairs;
use super::table::{
    ContainerPath, CutKind, FileEntry, InstanceEntry, InstanceKey, LabelSet, LineCut, Positions, Progress, SlimArc, StageProgress,
};
use crate::parse::cri::OutputStream;
use crate::pipeline::context::KnownStamp;
use crate::tail::fingerprint::Fingerprint;

const VERSION: u32 = 1;
const HEAD: &[u8] = b"{\"crc32c\":\"";
const MIDDLE: &[u8] = b"\",\"body\":";
const TAIL: &[u8] = b"}\n";

/// Why a positions file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("it is cut or damaged")]
    Frame,
    #[error("its checksum is `{stored}`, its content has `{computed}`")]
    Checksum { stored: String, computed: String },
    #[error("its content is not understood")]
    Body(#[source] serde_json::Error),
    #[error("it has version `{version}`, this program knows `{VERSION}`")]
    Version { version: u32 },
}

#[derive(Deserialize)]
struct Body {
    generation: u64,
    files: Vec<StoredFile>,
    instances: Vec<StoredInstance>,
}

#[derive(Serialize, Deserialize)]
struct StoredFile {
    container: String,
    instance: u32,
    name: String,
    device: u64,
    inode: u64,
    fingerprint: StoredFingerprint,
    offset: u64,
    last_stamp: Option<i64>,
    last_stream: String,
    finished: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cuts: Vec<StoredCut>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stages: Option<StoredStages>,
}

#[derive(Serialize, Deserialize)]
struct StoredStages {
    /// Key of a label set, stamp as parsed, stamp as given.
    known: Vec<(u64, i64, i64)>,
    clock: Option<(i64, u64)>,
}

#[derive(Serialize, Deserialize)]
struct StoredFingerprint {
    length: usize,
    hash: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredCut {
    offset: u64,
    stream: String,
    kind: String,
}

#[derive(Serialize, Deserialize)]
struct StoredInstance {
    container: String,
    instance: u32,
    first_stamp: i64,
    #[serde(default)]
    revision: u64,
    label_sets: Vec<StoredLabelSet>,
}

#[derive(Serialize, Deserialize)]
struct StoredLabelSet {
    from_offset: u64,
    labels: BTreeMap<String, String>,
    metadata: Option<BTreeMap<String, String>>,
}

/// Writes `positions` with their generation as the bytes of a file, entry by entry; the checksum is filled in at the end.
pub(crate) fn encode_to(positions: &Positions, generation: u64, mut out: impl Write + Seek) -> io::Result<()> {
    out.write_all(HEAD)?;
    let at = out.stream_position()?;
    out.write_all(b"00000000")?;
    out.write_all(MIDDLE)?;
    let mut body = Summing { out, crc: 0 };
    let borrowed =
        BorrowedBody { version: VERSION, generation, files: Files(&positions.files), instances: Instances(&positions.instances) };
    serde_json::to_writer(&mut body, &borrowed)?;
    let Summing { mut out, crc } = body;
    out.write_all(TAIL)?;
    out.seek(SeekFrom::Start(at))?;
    out.write_all(format!("{crc:08x}").as_bytes())?;
    out.flush()
}

/// Sums up what goes through.
struct Summing<W> {
    out: W,
    crc: u32,
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, &bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// [`Body`] as it is written, without a copy of all entries.
#[derive(Serialize)]
struct BorrowedBody<'a> {
    version: u32,
    generation: u64,
    files: Files<'a>,
    instances: Instances<'a>,
}

struct Files<'a>(&'a [SlimArc<FileEntry>]);

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|entry| stored_file(entry)))
    }
}

struct Instances<'a>(&'a BTreeMap<InstanceKey, SlimArc<InstanceEntry>>);

impl Serialize for Instances<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(key, entry)| stored_instance((key, entry.as_ref()))))
    }
}

/// Reads what [`encode_to`] wrote; any other bytes are an error.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Positions, u64), DecodeError> {
    let rest = bytes.strip_prefix(HEAD).ok_or(DecodeError::Frame)?;
    let (stored, rest) = rest.split_at_checked(8).ok_or(DecodeError::Frame)?;
    let body = rest.strip_prefix(MIDDLE).and_then(|rest| rest.strip_suffix(TAIL)).ok_or(DecodeError::Frame)?;
    let computed = checksum(body);
    if stored != computed.as_bytes() {
        return Err(DecodeError::Checksum { stored: String::from_utf8_lossy(stored).into_owned(), computed });
    }
    let version = serde_json::from_slice::<VersionOnly>(body).map_err(DecodeError::Body)?.version;
    if version != VERSION {
        return Err(DecodeError::Version { version });
    }
    let body: Body = serde_json::from_slice(body).map_err(DecodeError::Body)?;
    let mut paths = Paths::default();
    let files = body.files.into_iter().map(|stored| file_entry(stored, &mut paths).map(SlimArc::new)).collect::<Option<_>>();
    let instances =
        body.instances.into_iter().map(|stored| instance_entry(stored, &mut paths)).map(|(key, entry)| (key, SlimArc::new(entry)));
    Ok((Positions { files: files.ok_or(DecodeError::Frame)?, instances: instances.collect() }, body.generation))
}

/// Containers that were read, each as one text.
#[derive(Default)]
struct Paths(HashSet<ContainerPath>);

impl Paths {
    fn path(&mut self, text: String) -> ContainerPath {
        if let Some(known) = self.0.get(&*text) {
            return ContainerPath::clone(known);
        }
        let path = ContainerPath::from(text);
        self.0.insert(ContainerPath::clone(&path));
        path
    }
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

fn kind_text(kind: CutKind) -> String {
    match kind {
        CutKind::End => "end".to_owned(),
        CutKind::Shorten => "shorten".to_owned(),
        CutKind::Labels { set } => format!("labels {set}"),
        CutKind::Flush { key } => format!("flush {key}"),
        CutKind::Clock { stamp, until } => format!("clock {stamp} {until}"),
    }
}

fn kind(text: &str) -> Option<CutKind> {
    match text.split_once(' ') {
        None if text == "end" => Some(CutKind::End),
        None if text == "shorten" => Some(CutKind::Shorten),
        Some(("labels", set)) => Some(CutKind::Labels { set: set.parse().ok()? }),
        Some(("flush", key)) => Some(CutKind::Flush { key: key.parse().ok()? }),
        Some(("clock", values)) => {
            let (stamp, until) = values.split_once(' ')?;
            Some(CutKind::Clock { stamp: stamp.parse().ok()?, until: until.parse().ok()? })
        }
        _ => None,
    }
}

fn checksum(body: &[u8]) -> String {
    format!("{:08x}", crc32c::crc32c(body))
}

fn stored_file(entry: &FileEntry) -> StoredFile {
    let cut = |cut: &LineCut| StoredCut { offset: cut.offset, stream: cut.stream.name().to_owned(), kind: kind_text(cut.kind) };
    StoredFile {
        container: entry.instance.container.to_string(),
        instance: entry.instance.number,
        name: entry.name.to_string(),
        device: entry.device,
        inode: entry.inode,
        fingerprint: StoredFingerprint { length: entry.fingerprint.length, hash: entry.fingerprint.hash },
        offset: entry.progress.offset,
        last_stamp: entry.progress.last_stamp,
        last_stream: entry.progress.last_stream.name().to_owned(),
        finished: entry.progress.is_finished,
        cuts: entry.cuts.iter().map(cut).collect(),
        stages: entry.progress.stages.as_deref().map(|stages| {
            let known = stages.known.iter().map(|known| (known.key, known.parsed, known.given)).collect();
            StoredStages { known, clock: stages.clock }
        }),
    }
}

fn file_entry(stored: StoredFile, paths: &mut Paths) -> Option<FileEntry> {
    let cut = |cut: StoredCut| Some(LineCut { offset: cut.offset, stream: OutputStream::from_name(&cut.stream)?, kind: kind(&cut.kind)? });
    Some(FileEntry {
        instance: InstanceKey { container: paths.path(stored.container), number: stored.instance },
        name: stored.name.into(),
        device: stored.device,
        inode: stored.inode,
        fingerprint: Fingerprint { length: stored.fingerprint.length, hash: stored.fingerprint.hash },
        progress: Progress {
            offset: stored.offset,
            last_stamp: stored.last_stamp,
            last_stream: OutputStream::from_name(&stored.last_stream)?,
            is_finished: stored.finished,
            stages: stored.stages.map(|StoredStages { known, clock }| {
                let known = known.into_iter().map(|(key, parsed, given)| KnownStamp { key, parsed, given }).collect();
                Arc::new(StageProgress { known: Arc::new(known), clock })
            }),
        },
        cuts: stored.cuts.into_iter().map(cut).collect::<Option<_>>()?,
    })
}

fn stored_instance((key, entry): (&InstanceKey, &InstanceEntry)) -> StoredInstance {
    let label_set = |set: &LabelSet| StoredLabelSet {
        from_offset: set.from_offset,
        labels: set.labels.to_map(),
        metadata: set.metadata.as_ref().map(PackedPairs::to_map),
    };
    StoredInstance {
        container: key.container.to_string(),
        instance: key.number,
        first_stamp: entry.first_stamp,
        revision: entry.revision,
        label_sets: entry.label_sets.iter().map(label_set).collect(),
    }
}

fn instance_entry(stored: StoredInstance, paths: &mut Paths) -> (InstanceKey, InstanceEntry) {
    let label_set = |set: StoredLabelSet| LabelSet {
        from_offset: set.from_offset,
        labels: PackedPairs::from(&set.labels),
        metadata: set.metadata.as_ref().map(PackedPairs::from),
    };
    let key = InstanceKey { container: paths.path(stored.container), number: stored.instance };
    let label_sets = stored.label_sets.into_iter().map(label_set).collect();
    (key, InstanceEntry { label_sets, first_stamp: stored.first_stamp, revision: stored.revision })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::positions::table::tests::file_entry as plain_entry;
    use proptest::prelude::*;

    pub(crate) fn encode(positions: &Positions, generation: u64) -> Vec<u8> {
        let mut bytes = io::Cursor::new(Vec::new());
        encode_to(positions, generation, &mut bytes).unwrap();
        bytes.into_inner()
    }

    pub(crate) fn sample() -> Positions {
        let mut file = plain_entry("ns_pod_uid/app", 1234);
        file.cuts =
            [CutKind::End, CutKind::Shorten, CutKind::Labels { set: 1 }, CutKind::Flush { key: 7 }, CutKind::Clock { stamp: 9, until: 10 }]
                .map(|kind| LineCut { offset: 2000, stream: OutputStream::Stderr, kind })
                .into_iter()
                .collect();
        file.progress.stages =
            Some(Arc::new(StageProgress { known: Arc::new(vec![KnownStamp { key: 2, parsed: 3, given: 4 }]), clock: Some((5, 6)) }));
        let set = LabelSet {
            from_offset: 0,
            labels: PackedPairs::from(&BTreeMap::from([("namespace".to_owned(), "n\"s".to_owned())])),
            metadata: Some(PackedPairs::from(&BTreeMap::from([("pod_uid".to_owned(), "u".to_owned())]))),
        };
        let instances = BTreeMap::from([(
            file.instance.clone(),
            SlimArc::new(InstanceEntry { label_sets: smallvec::smallvec![set], first_stamp: 99, revision: 3 }),
        )]);
        Positions { files: vec![SlimArc::new(file)], instances }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (positions, generation) = decode(&encode(&sample(), 7)).expect("written by us");
        assert_eq!((positions, generation), (sample(), 7));
    }

    #[test]
    fn the_path_of_a_container_is_one_text_for_all_that_is_read_of_it() {
        let (mut positions, _) = decode(&encode(&sample(), 7)).expect("written by us");
        let (key, file) = (positions.instances.pop_first().unwrap().0, positions.files.remove(0));
        assert!(Arc::ptr_eq(&key.container, &file.instance.container));
    }

    #[test]
    fn a_file_cut_at_any_byte_is_refused() {
        let bytes = encode(&sample(), 7);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused() {
        let bytes = encode(&sample(), 7);
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[index] ^= 1 << bit;
                assert!(decode(&damaged).is_err(), "byte {index}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_file_from_the_future_is_refused_by_its_version() {
        let body = br#"{"version":2,"generation":1,"streams":[]}"#;
        let bytes = [HEAD, checksum(body).as_bytes(), MIDDLE, body, TAIL].concat();
        assert!(matches!(decode(&bytes), Err(DecodeError::Version { version: 2 })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
