//! What is lost between the question for the group's metadata and the owners' answers is not in the transaction.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::stage::{GROUP, STEP, Stage, TERM, well};
use super::*;

/// Two partitions whose owners were asked and have answered, which the thread has not seen.
fn answered() -> Stage {
    let mut stage = Stage::of(2, false, STEP);
    stage.until("both owners are asked", |stage| {
        stage.commit();
        matches!(&stage.cuts().step, Step::Asking(asking) if asking.asked.len() == 2)
    });
    stage.until("both have answered", |stage| {
        stage.let_owners_on();
        stage.poller.feeds.iter().all(|feed| !feed.inbox.is_stirred())
    });
    stage
}

/// The transaction that is sent has the second partition's part and no other.
fn the_second_alone_is_cut(stage: &mut Stage) {
    stage.commit();
    let Step::Sending(sending) = &stage.cuts().step else { panic!("nothing is sent") };
    let sent: Vec<i32> = sending.parts.iter().map(|part| part.item.handed.partition.partition).collect();
    assert_eq!(sent, [1]);
    stage.until("its end", |stage| {
        stage.commit();
        stage.cuts().is_resting()
    });
    assert_eq!((stage.committed(), stage.seen()), (1, 1), "{:?}", stage.cuts().trouble);
}

/// Nothing of what was answered is sent, and why.
fn nothing_is_cut(stage: &mut Stage) -> String {
    stage.commit();
    assert!(stage.cuts().is_resting(), "a transaction is sent");
    assert_eq!((stage.committed(), stage.seen()), (0, 0));
    stage.cuts().trouble.clone().unwrap_or_default()
}

/// The owner has found that others may have the partition, while the member is proven.
#[test]
fn a_partition_whose_owner_has_lost_it_is_not_in_the_cut() {
    let mut stage = answered();
    let (lease, clock) = stage.first.clone();
    clock.turn_on(TERM);
    // The owner asks its lease before it begins anything.
    stage.produce(0);
    stage.until("its owner has found it", |stage| {
        stage.serve();
        stage.poller.feeds.iter().any(|feed| feed.inbox.ownership().is_lost())
    });
    the_second_alone_is_cut(&mut stage);
    // What was lost is taken anew.
    lease.renew(lease.now());
    stage.until_cut(3);
    assert_eq!(stage.seen(), 3);
}

/// It is dropped, and may be another host's or another assignment of this one by now.
#[test]
fn a_partition_that_is_given_up_is_not_in_the_cut() {
    let mut stage = answered();
    let partition = TopicPartition { topic: SOURCE.into(), partition: 0 };
    well(stage.poller.drop_and_wait(&BTreeSet::from([partition])));
    assert_eq!(stage.poller.feeds.len(), 1);
    the_second_alone_is_cut(&mut stage);
    stage.until_cut(2);
    assert_eq!(stage.seen(), 2);
}

/// All of it may be others' then, whatever the owners have answered.
#[test]
fn nothing_is_cut_when_the_lease_has_ended_since_the_question() {
    let mut stage = answered();
    stage.clock.turn_on(TERM);
    let trouble = nothing_is_cut(&mut stage);
    assert!(trouble.contains("within the session time-out"), "{trouble:?}");
    // What is acknowledged then proves the membership, and nobody has taken the partitions.
    stage.until_cut(2);
    assert_eq!(stage.seen(), 2);
}

#[test]
fn no_owner_is_asked_when_the_lease_has_ended() {
    let mut stage = Stage::new(false);
    stage.clock.turn_on(TERM);
    stage.commit();
    assert!(stage.cuts().is_resting() && stage.feed().inbox.is_stirred());
    stage.until_it_is_cut();
    assert_eq!(stage.seen(), 1);
}

/// The client has heard that the group has gone on without this member. The thread has not.
#[test]
fn nothing_is_cut_when_the_group_has_given_the_partitions_away() {
    let mut stage = answered();
    leave(&stage);
    stage.until("the client has heard of it", |stage| stage.poller.parts.consumer.assignment_lost());
    assert_eq!(stage.poller.feeds.len(), 2);
    let trouble = nothing_is_cut(&mut stage);
    assert!(trouble.contains("to others"), "{trouble:?}");
    stage.until_cut(2);
    assert_eq!(stage.seen(), 2);
}

/// The last cut of a partition, where cuts have to be small.
fn cut_the_first_last(stage: &mut Stage) {
    stage.cuts().halve();
    let at = stage.poller.feeds.iter().position(|feed| feed.partition.partition == 0).unwrap();
    let gone = vec![stage.poller.feeds.remove(at)];
    stage.poller.parts.commits.cut_last(&gone, &stage.poller.feeds, PATIENCE);
    stage.poller.feeds.extend(gone);
}

/// Chaos has met it: the owner that was kept was not told, and gave its outputs out once more.
#[test]
fn who_is_kept_hears_that_its_part_is_committed() {
    let mut stage = answered();
    stage.commit();
    assert!(matches!(&stage.cuts().step, Step::Sending(sending) if sending.parts.len() == 2));
    cut_the_first_last(&mut stage);
    assert_eq!((stage.committed(), stage.seen()), (2, 2));
    stage.produce(1);
    stage.until_cut(3);
    assert_eq!(stage.seen(), 3);
}

/// It has answered, and would not be asked again before it has more.
#[test]
fn what_the_kept_have_answered_is_not_forgotten() {
    let mut stage = answered();
    cut_the_first_last(&mut stage);
    stage.until_cut(2);
    assert_eq!(stage.seen(), 2);
}

/// Whoever has the partition now would else be waited for, and its events of then be blamed if it comes back.
#[test]
fn of_what_is_given_up_amid_a_cut_no_refusal_is_kept() {
    let mut stage = answered();
    let begun = Instant::now();
    stage.delete(OUTPUTS);
    stage.commit();
    assert!(matches!(&stage.cuts().step, Step::Sending(sending) if sending.parts.len() == 2));
    let [first, second] = [0, 1].map(|partition| TopicPartition { topic: SOURCE.into(), partition });
    well(stage.poller.answer(Change::Revoked { partitions: vec![first.clone()], lost: true }));
    stage.until("its end", |stage| {
        stage.commit();
        stage.cuts().is_resting()
    });
    assert!(stage.cuts().closed.keeps(&second, begun), "there is no topic for it");
    assert!(!stage.cuts().closed.keeps(&first, begun), "another host's");
}

/// Has the group's one member leave it, as an administrator may.
fn leave(stage: &Stage) {
    let client: BaseConsumer = stage.client().create().unwrap();
    let groups = client.fetch_group_list(Some(GROUP), PATIENCE).unwrap();
    let member = groups.groups().first().unwrap().members().first().unwrap().id().to_owned();
    let text = |text: &str| [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat();
    // LeaveGroup (13) in its version 1, with the number 1.
    let header = [0, 13, 0, 1, 0, 0, 0, 1];
    let request = [header.to_vec(), text("administrator"), text(GROUP), text(&member)].concat();
    let mut broker = TcpStream::connect(stage.broker.bootstrap()).unwrap();
    broker.write_all(&u32::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
    broker.write_all(&request).unwrap();
    // Its size, its number, how long the broker is busy, and no error.
    let mut answer = [0; 14];
    broker.read_exact(&mut answer).unwrap();
    assert_eq!(answer[12..], [0, 0], "{answer:?}");
}
