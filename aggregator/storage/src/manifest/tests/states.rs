//! Changes and their conflicts; deltas and snapshots say the same.

use proptest::prelude::*;

use super::*;
use crate::manifest::change::Stamp;
use crate::manifest::message;

fn next(state: &ManifestState, change: &Change) -> Result<ManifestState, Conflict> {
    let number = u8::try_from((state.version() + 1) % 251).expect("small");
    state.next(change, Stamp { commit: CommitId([number; 16]), author: "a".to_owned(), time: NOW })
}

fn after(changes: &[Change]) -> ManifestState {
    changes.iter().fold(ManifestState::empty(tenant()), |state, change| next(&state, change).expect("fits"))
}

fn tombstone(number: u128, start: i64, end: i64) -> Tombstone {
    Tombstone::requested(TombstoneId(Ulid(number)), "{app=\"a\"} |= \"x\"", start, end, NOW)
}

#[test]
fn a_fold_fits_only_where_it_started() {
    let state = after(&[fold("W", None, 4, vec![file(1, 5)])]);
    assert_eq!(state.watermark("W"), Some(Watermark { sequence: 4, committed_at: NOW }));
    assert!(state.is_folded("W", 4) && !state.is_folded("W", 5) && !state.is_folded("V", 0));
    let refused = |change: Change| next(&state, &change).expect_err("does not fit");
    let moved = Conflict::WatermarkMoved { writer: "W".into(), expected: None, found: Some(4) };
    assert_eq!(refused(fold("W", None, 4, vec![file(2, 5)])), moved);
    assert_eq!(refused(fold("W", Some(4), 4, vec![])), Conflict::NotAbove { writer: "W".into(), from: 4, to: 4 });
    assert_eq!(refused(fold("W", Some(4), 5, vec![file(1, 5)])), Conflict::FileKnown { file: id(1) });
    next(&state, &fold("W", Some(4), 5, vec![])).expect("all rows may have been left out");
}

#[test]
fn a_replacement_needs_its_inputs_and_what_it_relied_on() {
    let state = after(&[fold("W", None, 0, vec![file(1, 1), file(2, 1)])]);
    let replaced = next(&state, &replace(&[&file(1, 1)], vec![file(3, 1)], &[&file(2, 1)])).expect("fits");
    assert_eq!(replaced.files().map(|file| file.id).collect::<Vec<_>>(), [id(2), id(3)]);
    let retired = Retired { id: id(1), day: Day::of(NOW), level: 1, size: 11, retired_at: NOW, reason: RetireReason::Compacted };
    assert_eq!(replaced.retired().collect::<Vec<_>>(), [&retired]);
    let refused = |change: Change| next(&replaced, &change).expect_err("does not fit");
    assert_eq!(refused(replace(&[&file(1, 1)], vec![], &[])), Conflict::InputGone { file: id(1) });
    assert_eq!(refused(replace(&[&file(2, 1)], vec![], &[&file(1, 1)])), Conflict::ReliedOnGone { file: id(1) });
    assert_eq!(refused(replace(&[&file(2, 1)], vec![], &[&file(2, 1)])), Conflict::ReliesOnInput { file: id(2) });
    assert_eq!(refused(fold("W", Some(0), 1, vec![file(1, 1)])), Conflict::FileKnown { file: id(1) });
    let relying = SegmentFold { relied_on: vec![id(1)], ..SegmentFold::default() };
    assert_eq!(refused(Change::FoldSegments(relying)), Conflict::ReliedOnGone { file: id(1) });
}

#[test]
fn a_delete_request_is_processed_only_when_no_file_can_hold_its_lines() {
    let request = tombstone(9, NOW - 10, NOW);
    let known = request.id;
    // Version 1: two files; 2: the request; a later file whose maker knew it; and one out of its time.
    let late = DataFile { min_timestamp: NOW + 1, ..file(2, 1) };
    let state = after(&[fold("W", None, 0, vec![file(1, 1), late]), Change::AddTombstone(request.clone())]);
    assert_eq!(state.tombstone(known).map(|found| (found.added, found.processed_at)), Some((2, None)));
    let knowing = DataFile { as_of: 2, ..file(3, 1) };
    let state = next(&state, &fold("W", Some(0), 1, vec![knowing])).expect("fits");

    let mark = |clean: Vec<FileId>| Change::MarkProcessed { tombstone: known, clean };
    assert_eq!(next(&state, &mark(vec![])), Err(Conflict::NotClean { tombstone: known, file: id(1) }));
    let processed = next(&state, &mark(vec![id(1)])).expect("looked through");
    assert_eq!(processed.tombstone(known).and_then(|found| found.processed_at), Some(NOW));

    let refused = |change: Change| next(&processed, &change).expect_err("does not fit");
    let unseen = Conflict::UnseenTombstone { tombstone: known, file: id(4) };
    assert_eq!(refused(fold("W", Some(1), 2, vec![DataFile { as_of: 1, ..file(4, 1) }])), unseen);
    next(&processed, &fold("W", Some(1), 2, vec![DataFile { as_of: 2, ..file(4, 1) }])).expect("its maker erased them");
    assert_eq!(refused(mark(vec![id(1)])), Conflict::TombstoneProcessed(known));
    assert_eq!(refused(Change::CancelTombstone(known)), Conflict::TombstoneProcessed(known));
    assert_eq!(refused(Change::AddTombstone(request)), Conflict::TombstoneKnown(known));
    assert_eq!(next(&state, &Change::ForgetTombstone(known)), Err(Conflict::TombstoneUnprocessed(known)));
    assert_eq!(next(&processed, &Change::ForgetTombstone(known)).expect("fits").tombstones().len(), 0);
    assert_eq!(next(&state, &Change::CancelTombstone(known)).expect("fits").tombstones().len(), 0);
    let other = TombstoneId(Ulid(1));
    for change in
        [Change::CancelTombstone(other), Change::ForgetTombstone(other), Change::MarkProcessed { tombstone: other, clean: vec![] }]
    {
        assert_eq!(refused(change), Conflict::TombstoneUnknown(other));
    }
}

#[test]
fn what_is_condemned_cannot_be_added() {
    let orphan = |file: &DataFile| Retired {
        id: file.id,
        day: file.day,
        level: file.level,
        size: file.size,
        retired_at: 0,
        reason: RetireReason::Orphan,
    };
    let state = after(&[fold("W", None, 0, vec![file(1, 1)]), Change::CondemnOrphans(vec![orphan(&file(2, 1))])]);
    assert_eq!(next(&state, &fold("W", Some(0), 1, vec![file(2, 1)])), Err(Conflict::FileKnown { file: id(2) }));
    assert_eq!(next(&state, &Change::CondemnOrphans(vec![orphan(&file(1, 1))])), Err(Conflict::FileKnown { file: id(1) }));
    let forgotten = next(&state, &Change::ForgetRetired(vec![id(2), id(7)])).expect("those gone are passed over");
    assert_eq!(forgotten.retired().len(), 0);
}

#[test]
fn every_64th_version_is_a_snapshot_and_deltas_name_the_last() {
    let mut state = ManifestState::empty(tenant());
    for number in 1..=130_u64 {
        state = next(&state, &fold("W", (number > 1).then(|| number - 2), number - 1, vec![])).expect("fits");
        let base = state.base().map(|base| base.version);
        let expected = match number {
            1 | 64 | 128 => None,
            2..64 => Some(1),
            65..128 => Some(64),
            _ => Some(128),
        };
        assert_eq!((state.version(), base), (number, expected));
    }
}

/// A step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Fold { files: u8 },
    Replace { which: prop::sample::Index, add: bool },
    Request,
    Process { which: prop::sample::Index },
    Forget { which: prop::sample::Index },
    Drop,
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<prop::sample::Index>;
    prop_oneof![
        3 => (0_u8..4).prop_map(|files| Step::Fold { files }),
        2 => (which(), any::<bool>()).prop_map(|(which, add)| Step::Replace { which, add }),
        1 => Just(Step::Request),
        1 => which().prop_map(|which| Step::Process { which }),
        1 => which().prop_map(|which| Step::Forget { which }),
        1 => Just(Step::Drop),
    ]
}

fn change_of(step: &Step, state: &ManifestState, fresh: &mut u128) -> Change {
    let mut new_file = || {
        *fresh += 1;
        DataFile { as_of: state.version(), ..file(*fresh, u64::try_from(*fresh).expect("small")) }
    };
    match step {
        Step::Fold { files } => {
            let writer = format!("W{}", files % 2);
            let from = state.watermark(&writer).map(|watermark| watermark.sequence);
            fold(&writer, from, from.map_or(0, |from| from + 1), (0..*files).map(|_| new_file()).collect())
        }
        Step::Replace { which, add } if state.files().len() > 0 => {
            let input = state.files().nth(which.index(state.files().len())).expect("there").clone();
            let output = add.then(&mut new_file);
            replace(&[&input], output.into_iter().collect(), &[])
        }
        Step::Process { which } if state.tombstones().len() > 0 => {
            let tombstone = state.tombstones().nth(which.index(state.tombstones().len())).expect("there");
            match tombstone.processed_at {
                Some(_) => Change::ForgetTombstone(tombstone.id),
                None => Change::MarkProcessed { tombstone: tombstone.id, clean: state.files().map(|file| file.id).collect() },
            }
        }
        Step::Forget { which } if state.retired().len() > 0 => {
            Change::ForgetRetired(vec![state.retired().nth(which.index(state.retired().len())).expect("there").id])
        }
        Step::Drop => {
            Change::DropWriters(state.watermarks().iter().take(1).map(|(writer, watermark)| (writer.clone(), watermark.sequence)).collect())
        }
        _ => {
            *fresh += 1;
            Change::AddTombstone(tombstone(*fresh, NOW - DAY, NOW + DAY))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_version_reads_as_it_was_made_be_it_delta_or_snapshot(steps in prop::collection::vec(step(), 1..150)) {
        let mut state = ManifestState::empty(tenant());
        let mut base = state.clone();
        let mut fresh = 0;
        for step in &steps {
            let made = next(&state, &change_of(step, &state, &mut fresh)).expect("fits");
            if made.base().is_some_and(|wanted| wanted.version == state.version()) {
                base = state.clone();
            }
            let bytes = message::encode(&made, &base).expect("encodes");
            let opened = message::open(&bytes, &tenant(), made.version()).expect("opens");
            prop_assert_eq!(&opened.on(&base).expect("fits its base"), &made);

            let full = ManifestState { base: None, ..made.clone() };
            let bytes = message::encode(&full, &base).expect("encodes");
            let opened = message::open(&bytes, &tenant(), made.version()).expect("opens");
            prop_assert_eq!(&opened.on(&ManifestState::empty(tenant())).expect("has no base"), &full);
            state = made;
        }
    }
}
