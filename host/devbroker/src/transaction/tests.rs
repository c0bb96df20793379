//! The coordinator's rules, driven by hand. Those that a client can see are in the conformance suite too.

use super::*;

const A: (Uuid, i32) = (Uuid::from_u128(1), 0);
const B: (Uuid, i32) = (Uuid::from_u128(2), 3);
const TIMEOUT_MS: i32 = 1_000;

/// A coordinator that gives the number 7 to its first producer, and each next one to the next.
struct Driver {
    all: Transactions,
    next_id: i64,
    now_ms: i64,
}

impl Driver {
    fn new(limit: usize) -> Self {
        Self { all: Transactions::new(limit), next_id: 7, now_ms: 5_000 }
    }

    fn init(&mut self, name: &str, known: Option<(i64, i16)>) -> Result<(i64, i16), ResponseError> {
        let entry = match self.all.admit(name, TIMEOUT_MS, known)? {
            Admitted::Again(entry) => return Ok((entry.producer_id, entry.epoch)),
            Admitted::Fresh => {
                self.next_id += 1;
                Entry::new(self.next_id - 1, TIMEOUT_MS)
            }
            Admitted::Keep(entry) => entry,
            Admitted::AbortFirst(entry) => {
                self.all.keep(name, entry);
                return Err(ResponseError::ConcurrentTransactions);
            }
        };
        let given = (entry.producer_id, entry.epoch);
        self.all.keep(name, entry);
        Ok(given)
    }

    fn open(&mut self, name: &str, epoch: i16) -> Result<(), ResponseError> {
        let claimed = Claimed { name, producer_id: 7, epoch };
        if let Some(entry) = self.all.add_partitions(claimed, &[A, B], self.now_ms)? {
            self.all.keep(name, entry);
        }
        Ok(())
    }

    fn end(&mut self, name: &str, epoch: i16, commit: bool) -> Result<(), ResponseError> {
        let claimed = Claimed { name, producer_id: 7, epoch };
        if let Some(entry) = self.all.end(claimed, commit)? {
            self.all.keep(name, entry);
        }
        Ok(())
    }

    fn mark(&mut self, name: &str) {
        [A, B].into_iter().for_each(|partition| self.all.marked(name, partition));
    }
}

#[test]
fn nothing_happens_while_markers_are_missing() {
    let mut d = Driver::new(9);
    assert_eq!(d.init("t", None), Ok((7, 0)));
    assert_eq!(d.open("t", 0), Ok(()));
    assert_eq!(d.end("t", 0, true), Ok(()));
    let too_early = Err(ResponseError::ConcurrentTransactions);
    assert_eq!(d.open("t", 0), too_early);
    assert_eq!(d.end("t", 0, true), too_early);
    assert_eq!(d.end("t", 0, false), Err(ResponseError::InvalidTxnState));
    assert_eq!(d.init("t", None), Err(ResponseError::ConcurrentTransactions));
    d.all.marked("t", A);
    assert_eq!((d.open("t", 0), d.all.ending()), (too_early, vec!["t".to_owned()]));
    d.all.marked("t", B);
    assert_eq!((d.end("t", 0, true), d.all.ending()), (Ok(()), vec![]));
    assert_eq!(d.open("t", 0), Ok(()));
}

#[test]
fn a_transaction_has_its_partitions_and_groups_and_no_others() {
    let mut d = Driver::new(9);
    d.init("t", None).unwrap();
    let claimed = Claimed { name: "t", producer_id: 7, epoch: 0 };
    let stray = Err(ResponseError::InvalidTxnState);
    assert_eq!((d.all.may_write(claimed, A), d.all.may_commit(claimed, "g")), (stray, stray));
    let entry = d.all.add_group(claimed, "g", 0).unwrap().unwrap();
    d.all.keep("t", entry);
    assert_eq!((d.all.may_write(claimed, A), d.all.may_commit(claimed, "g")), (stray, Ok(())));
    d.open("t", 0).unwrap();
    assert_eq!((d.all.may_write(claimed, A), d.all.may_commit(claimed, "h")), (Ok(()), stray));
    assert_eq!(d.all.add_group(claimed, "g", 0), Ok(None));
    assert_eq!(d.all.add_partitions(claimed, &[B], 0), Ok(None));
    assert!(d.all.is_open(7, A) && !d.all.is_open(8, A) && !d.all.is_open(7, (A.0, 1)));
    d.end("t", 0, false).unwrap();
    d.mark("t");
    assert_eq!((d.all.may_write(claimed, A), d.all.may_commit(claimed, "g")), (stray, stray));
    d.open("t", 0).unwrap();
    assert_eq!(d.all.may_commit(claimed, "g"), stray, "the group was of the transaction before");
}

#[test]
fn time_is_counted_from_the_first_partition() {
    let mut d = Driver::new(9);
    d.init("t", None).unwrap();
    d.open("t", 0).unwrap();
    d.now_ms += 900;
    d.open("t", 0).unwrap();
    assert_eq!(d.all.expired(5_999), vec![]);
    let expired = d.all.expired(6_000);
    let [(name, entry)] = expired.as_slice() else { panic!("{expired:?}") };
    assert_eq!((name.as_str(), entry.epoch, entry.last_epoch, entry.phase), ("t", 1, 0, Phase::Aborted));
    d.all.keep("t", entry.clone());
    assert_eq!(d.end("t", 0, true), Err(ResponseError::ProducerFenced));
    d.mark("t");
    assert_eq!(d.init("t", Some((7, 0))), Ok((7, 1)), "its owner learns the epoch");
    assert_eq!(d.open("t", 1), Ok(()));
    assert_eq!(d.all.open(), 1);
}

#[test]
fn a_number_whose_epochs_are_used_up_is_replaced() {
    let mut d = Driver::new(9);
    d.init("t", None).unwrap();
    d.all.keep("t", Entry { epoch: LAST_EPOCH - 1, ..Entry::new(7, TIMEOUT_MS) });
    assert_eq!(d.init("t", None), Ok((7, LAST_EPOCH)));
    d.open("t", LAST_EPOCH).unwrap();
    assert_eq!(d.init("t", None), Err(ResponseError::ConcurrentTransactions), "fenced by the last one");
    d.mark("t");
    assert_eq!(d.init("t", None), Ok((8, 0)));
    assert_eq!(d.init("t", Some((7, LAST_EPOCH))), Err(ResponseError::ProducerFenced));
}

#[test]
fn the_idlest_producer_gives_way_and_none_with_a_transaction() {
    let mut d = Driver::new(2);
    assert_eq!(d.init("a", None), Ok((7, 0)));
    assert_eq!(d.init("b", None), Ok((8, 0)));
    d.open("a", 0).unwrap();
    assert_eq!(d.init("c", None), Ok((9, 0)));
    assert_eq!(d.init("b", None), Ok((10, 0)), "it was forgotten, and c is now");
    d.all.keep("b", Entry { phase: Phase::Open, ..Entry::new(10, TIMEOUT_MS) });
    assert_eq!(d.init("c", None), Err(ResponseError::PolicyViolation));
    d.end("a", 0, true).unwrap();
    assert_eq!(d.init("c", None), Err(ResponseError::PolicyViolation), "its markers are missing");
    d.mark("a");
    assert_eq!(d.init("c", None), Ok((11, 0)));
}
