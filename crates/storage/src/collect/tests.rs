//! Plans, against a plain reference.

use proptest::prelude::*;

use super::*;
use crate::error::Kind;

fn uuid(number: usize) -> Uuid {
    Uuid::from_u128(number as u128 + 1)
}

fn batch(number: usize) -> String {
    paths::batch_file(0, uuid(1000 + number))
}

fn entry(name: String, kind: EntryKind) -> DirectoryEntry {
    DirectoryEntry {
        name,
        kind,
        size_bytes: 10,
    }
}

/// U usable, X unusable, P pinned, H held and unusable; what is kept is written in the same letters,
/// what is dropped as a dot.
#[track_caller]
fn check_retained(checkpoints: &str, retain: usize, expected: &str) {
    let retention = |(position, letter): (usize, char)| Retention {
        uuid: uuid(position),
        is_usable: matches!(letter, 'U' | 'P'),
        is_kept_on_purpose: letter == 'P',
        is_held: letter == 'H',
    };
    let retention: Vec<_> = checkpoints.chars().enumerate().map(retention).collect();
    let decisions = retained(&retention, retain);
    let kept = checkpoints.chars().zip(decisions);
    let kept: String = kept
        .map(|(letter, kept)| if kept.is_some() { letter } else { '.' })
        .collect();
    assert_eq!(kept, expected);
}

#[test]
fn the_newest_usable_ones_are_kept_and_those_that_somebody_wants() {
    check_retained("", 2, "");
    check_retained("UUU", 2, ".UU");
    check_retained("UUU", 0, "..U");
    check_retained("PUUU", 2, "P.UU");
    check_retained("UPUU", 1, ".P.U");
    check_retained("HUUU", 2, "H.UU");
    // The damaged one is no replacement, and goes when it is older than what is kept.
    check_retained("UUXU", 2, ".UXU");
    check_retained("UXUU", 2, "..UU");
    // Too few: everything is kept.
    check_retained("XUX", 2, "XUX");
    check_retained("XX", 1, "XX");
}

/// What the planner is to find out.
#[derive(Clone, Debug)]
struct Case {
    facts: Facts,
    retain: Option<usize>,
}

const BATCHES: usize = 12;

fn case() -> impl Strategy<Value = Case> {
    let batches = || prop::collection::btree_set(0..BATCHES, 0..6);
    let checkpoint = (any::<[bool; 3]>(), prop::bool::weighted(0.05), batches());
    let checkpoints = prop::collection::vec(checkpoint, 0..6);
    let rest = (any::<bool>(), prop::option::of(0_usize..4), 0_usize..3);
    (checkpoints, batches(), batches(), rest).prop_map(
        |(checkpoints, on_disk, in_use, (is_opening, retain, strays))| {
            let facts = checkpoints.iter().enumerate().map(
                |(position, (flags, is_unreadable, batches))| {
                    let [is_damaged, is_kept_on_purpose, is_held] = *flags;
                    let batches = batches.iter().map(|&number| batch(number)).collect();
                    CheckpointFacts {
                        retention: Retention {
                            uuid: uuid(position),
                            is_usable: !is_damaged,
                            is_kept_on_purpose,
                            is_held,
                        },
                        batches: if *is_unreadable {
                            Err(Error::corrupt("manifest", "garbage"))
                        } else {
                            Ok(batches)
                        },
                    }
                },
            );
            let checkpoints: Vec<_> = facts.collect();
            let folders = (0..checkpoints.len() + strays)
                .map(|number| entry(uuid(number).to_string(), EntryKind::Directory));
            let files = on_disk
                .iter()
                .chain(&in_use)
                .map(|&number| entry(batch(number), EntryKind::File));
            let other = [
                entry(paths::CATALOG.to_owned(), EntryKind::File),
                entry(paths::LOCK.to_owned(), EntryKind::File),
                entry("notes.txt".to_owned(), EntryKind::File),
                entry("folder".to_owned(), EntryKind::Directory),
                entry(paths::unfinished(&batch(BATCHES)), EntryKind::File),
                // Names that look like ours, of another kind.
                entry(batch(BATCHES + 1), EntryKind::Directory),
                entry(uuid(500).to_string(), EntryKind::File),
            ];
            let mut root: Vec<_> = folders.chain(files).chain(other).collect();
            root.sort_by(|left, right| left.name.cmp(&right.name));
            root.dedup();
            // The first of the strays is being written.
            let in_progress = (checkpoints.len()..checkpoints.len() + strays.min(1)).map(uuid);
            let facts = Facts {
                in_progress: in_progress.collect(),
                checkpoints,
                root,
                folders_bytes: BTreeMap::new(),
                in_use: in_use.into_iter().map(batch).collect(),
                moment: if is_opening {
                    CollectionMoment::Opening
                } else {
                    CollectionMoment::Running
                },
            };
            Case { facts, retain }
        },
    )
}

/// Whether a checkpoint is kept, by counting.
fn is_kept(case: &Case, position: usize) -> bool {
    let Some(retain) = case.retain else {
        return true;
    };
    let checkpoints = &case.facts.checkpoints;
    let this = &checkpoints[position].retention;
    let usable_after = |position: usize| {
        let newer = &checkpoints[position + 1..];
        newer
            .iter()
            .filter(|newer| newer.retention.is_usable)
            .count()
    };
    let is_new = usable_after(position) < retain.max(1);
    is_new || this.is_kept_on_purpose || this.is_held
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_needed_stays_and_the_rest_of_ours_goes(case in case()) {
        let kept: Vec<usize> = (0..case.facts.checkpoints.len()).filter(|&position| is_kept(&case, position)).collect();
        let needed = kept.iter().map(|&position| &case.facts.checkpoints[position].batches);
        let needed: std::result::Result<Vec<_>, _> = needed.map(Result::as_ref).collect();
        let plan = plan(&case.facts, case.retain);
        let Ok(needed) = needed else {
            // In doubt there is no plan.
            prop_assert_eq!(plan.unwrap_err().kind(), Kind::Corrupt);
            return Ok(());
        };
        let needed: BTreeSet<&String> = needed.into_iter().flatten().collect();
        let plan = plan.unwrap();
        let kept: Vec<Uuid> = kept.into_iter().map(uuid).collect();
        prop_assert_eq!(plan.kept.iter().map(|(uuid, _)| *uuid).collect::<Vec<_>>(), kept.clone());

        let mut deleted: BTreeSet<String> = plan.folders.iter().map(|(uuid, _)| uuid.to_string()).collect();
        deleted.extend(plan.batches.iter().chain(&plan.unfinished).map(|(name, _)| name.clone()));
        let expected = case.facts.root.iter().filter(|entry| match paths::root_name(&entry.name) {
            RootName::Checkpoint(uuid) => {
                let is_wanted = kept.contains(&uuid) || case.facts.in_progress.contains(&uuid);
                entry.kind == EntryKind::Directory && !is_wanted
            }
            RootName::Batch { .. } => {
                let is_wanted = needed.contains(&entry.name) || case.facts.in_use.contains(&entry.name);
                entry.kind == EntryKind::File && !is_wanted
            }
            RootName::Unfinished => case.facts.moment == CollectionMoment::Opening,
            _ => false,
        });
        prop_assert_eq!(deleted, expected.map(|entry| entry.name.clone()).collect());
    }
}

#[test]
fn a_plan_prints_what_it_does() {
    let facts = Facts {
        checkpoints: (0..2)
            .map(|position| CheckpointFacts {
                retention: Retention {
                    uuid: uuid(position),
                    is_usable: true,
                    is_kept_on_purpose: false,
                    is_held: false,
                },
                batches: Ok([batch(position), batch(2)].into()),
            })
            .collect(),
        root: vec![
            entry(uuid(0).to_string(), EntryKind::Directory),
            entry(uuid(1).to_string(), EntryKind::Directory),
            entry("notes.txt".to_owned(), EntryKind::File),
            entry(batch(0), EntryKind::File),
            entry(batch(1), EntryKind::File),
            entry(batch(2), EntryKind::File),
            entry(batch(3), EntryKind::File),
        ],
        folders_bytes: [(uuid(0), 7)].into(),
        in_use: [batch(3)].into(),
        in_progress: BTreeSet::new(),
        moment: CollectionMoment::Running,
    };
    let text = plan(&facts, Some(1)).unwrap().to_string();
    let expected = format!(
        "keep checkpoint {}: recent\n\
         drop checkpoint {}: old\n\
         delete folder {} (7 bytes)\n\
         delete file {} (10 bytes)\n\
         leave file {} (10 bytes): in use, goes with its last user\n\
         leave notes.txt: not ours\n\
         2 batch files are needed; 17 bytes are given back",
        uuid(1),
        uuid(0),
        uuid(0),
        batch(0),
        batch(3),
    );
    assert_eq!(text, expected);
}
