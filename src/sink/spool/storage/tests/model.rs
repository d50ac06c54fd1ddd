//! A spool beside a list of requests.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Operation {
    /// Requests with these lengths.
    Append(Vec<usize>),
    /// So many of those that wait.
    Acknowledge(usize),
    /// From so many behind the first that waits, so many bytes.
    Read(usize, usize),
    Reopen,
    DropOldest,
    /// With another naming, in which a new segment begins.
    Rename,
    Sync,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => vec(0_usize..300, 0..6).prop_map(Operation::Append),
        3 => (0_usize..12).prop_map(Operation::Acknowledge),
        2 => (0_usize..12, 0_usize..900).prop_map(|(skipped, bytes)| Operation::Read(skipped, bytes)),
        2 => Just(Operation::Reopen),
        1 => Just(Operation::DropOldest),
        1 => Just(Operation::Rename),
        1 => Just(Operation::Sync),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_history_gives_back_the_list(operations in vec(operation(), 1..60)) {
        let (_root, path) = directory();
        let mut spool = open(&path, WIDE);
        let mut model: Vec<(u64, Request)> = Vec::new();
        let (mut number, mut next) = (0, 1);
        for operation in operations {
            match operation {
                Operation::Append(lengths) => {
                    let new: Vec<Request> = lengths.iter().map(|length| { number += 1; request(number, *length) }).collect();
                    prop_assert_eq!(spool.append(&new).expect("written"), next);
                    model.extend((next..).zip(new));
                    next += lengths.len() as u64;
                }
                Operation::Acknowledge(count) => {
                    let count = count.min(model.len());
                    let through = if count == 0 { 0 } else { model[count - 1].0 };
                    spool.acknowledge(through).expect("recorded");
                    model.drain(..count);
                }
                Operation::Read(skipped, bytes) => {
                    let from = spool.backlog().first + skipped as u64;
                    let read = spool.read(from, bytes).expect("readable");
                    let left: Vec<_> = model.iter().filter(|(sequence, _)| *sequence >= from).cloned().collect();
                    prop_assert!(left.starts_with(&read));
                    prop_assert!(read.len() == left.len() || read.iter().map(|(_, request)| request.body.len()).sum::<usize>() >= bytes);
                    prop_assert!(!read.is_empty() || left.is_empty());
                }
                Operation::Reopen => {
                    spool = open(&path, WIDE);
                    if model.is_empty() {
                        prop_assert_eq!(spool.backlog().next, 1);
                        next = 1;
                    }
                }
                Operation::DropOldest => {
                    let dropped = spool.drop_oldest().expect("removed").unwrap_or_default();
                    let gone: Vec<_> = model.drain(..size(dropped.requests)).map(|(_, request)| request).collect();
                    prop_assert_eq!(dropped, counts(&gone));
                }
                Operation::Rename => {
                    let naming = if spool.kept.identity.naming == "otel" { "gauged" } else { "otel" };
                    spool.configure(SpoolIdentity { naming, ..IDENTITY }, WIDE);
                }
                Operation::Sync => spool.sync().expect("synced"),
            }
            let backlog = spool.backlog();
            prop_assert_eq!(backlog.waiting, counts(model.iter().map(|(_, request)| request)));
            prop_assert_eq!(backlog.oldest, model.first().map(|(_, request)| request.time));
            prop_assert_eq!((backlog.first, backlog.next), (model.first().map_or(next, |(first, _)| *first), next));
            prop_assert_eq!(all(&mut spool), model.clone());
            prop_assert_eq!(path.exists(), !model.is_empty());
            let files: u64 = segment_names(&path).iter().map(|name| fs::metadata(path.join(name)).expect("there").len()).sum();
            prop_assert_eq!(backlog.bytes, files);
        }
        prop_assert_eq!(spool.take_losses(), SpoolLosses::default());
    }
}
