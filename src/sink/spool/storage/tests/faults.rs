//! Writes that fail: an append happens whole or not at all.

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::io::Errno;

use super::*;
use crate::sink::error::ErrorReason;
use crate::sink::spool::calls::faults::{self, WriteFault};

fn fault() -> impl Strategy<Value = WriteFault> {
    prop_oneof![
        2 => (1_usize..700).prop_map(WriteFault::Short),
        1 => Just(WriteFault::Error(Errno::INTR)),
        1 => Just(WriteFault::Error(Errno::NOSPC)),
        1 => Just(WriteFault::Error(Errno::DQUOT)),
        1 => Just(WriteFault::Error(Errno::IO)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn failed_append_leaves_nothing(
        appends in vec((vec(0_usize..300, 1..9), vec(fault(), 0..4), any::<bool>(), any::<bool>()), 1..25),
    ) {
        let (_root, path) = directory();
        let mut spool = open(&path, WIDE);
        let (mut model, mut number, mut is_torn) = (Vec::new(), 0, false);
        for (lengths, writes, refuses_cuts, reopens) in appends {
            let new: Vec<Request> = lengths.iter().map(|length| { number += 1; request(number, length * 30) }).collect();
            let next = spool.backlog().next;
            faults::set(writes, refuses_cuts);
            let appended = spool.append(&new);
            faults::set([], false);
            match appended {
                Ok(first) => {
                    prop_assert_eq!(first, next);
                    model.extend((next..).zip(new));
                    is_torn = false;
                }
                Err(error) => {
                    prop_assert!(matches!(error.reason, ErrorReason::NoSpace | ErrorReason::Io), "{:?}", error);
                    is_torn |= refuses_cuts;
                }
            }
            prop_assert_eq!(spool.backlog().waiting, counts(model.iter().map(|(_, request)| request)));
            prop_assert_eq!(all(&mut spool), model.clone());
            // A part that could not be cut off is found again, and is sent, too.
            if reopens && !is_torn {
                spool = open(&path, WIDE);
                prop_assert_eq!(all(&mut spool), model.clone());
                prop_assert_eq!(spool.take_losses(), SpoolLosses::default());
            }
        }
    }
}

#[test]
fn full_disk_is_survived() {
    let (_root, path) = directory();
    let mut spool = open(&path, SMALL);
    faults::set([WriteFault::Short(100), WriteFault::Error(Errno::NOSPC)], false);
    let error = spool.append(&requests(0..1, 100)).expect_err("full");
    assert_eq!(error.reason, ErrorReason::NoSpace);
    assert!(error.remedy.contains("spool_size"), "{error:?}");
    assert_eq!(names(&path), [""; 0], "no part of it takes space");
    spool.append(&requests(0..1, 100)).expect("there is room again");
    faults::set([WriteFault::Short(100), WriteFault::Error(Errno::NOSPC)], false);
    spool.append(&requests(1..2, 100)).expect_err("full");
    spool.append(&requests(2..3, 100)).expect("there is room again");
    assert_eq!(all(&mut open(&path, SMALL)), [(1, request(0, 100)), (2, request(2, 100))]);
}

#[test]
fn torn_part_that_stays_is_passed_over() {
    let (_root, path) = directory();
    let mut spool = open(&path, SMALL);
    spool.append(&requests(0..2, 100)).expect("written");
    // Two whole records and a part of another one stay behind.
    faults::set([WriteFault::Short(400), WriteFault::Error(Errno::NOSPC)], true);
    spool.append(&requests(2..5, 100)).expect_err("full");
    assert_eq!(sequences(&mut spool), [1, 2]);
    assert_eq!(sequences(&mut open(&path, SMALL)), [1, 2, 3, 4], "they were never promised, and are sent");
    assert_eq!(spool.append(&requests(5..6, 100)).expect("written"), 3);
    faults::set([], false);
    let expected = [(1, request(0, 100)), (2, request(1, 100)), (3, request(5, 100))];
    assert_eq!((all(&mut spool), segment_names(&path).len()), (expected.to_vec(), 2));
    assert_eq!(all(&mut open(&path, SMALL)), expected);
}
