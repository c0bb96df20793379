//! What a takeover finds, for every place where a relay can die; and who is blamed for a refusal.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Database and Kafka as they are told of: what one crash may leave behind is seen here, nothing else.
#[derive(Debug, Clone)]
struct World {
    standing: Standing,
    position: Option<Position>,
    /// Batches in Kafka's log, by number, under each numbering.
    sent: Vec<(i64, i64)>,
    /// The numbering that batches are counted under.
    numbering: i64,
    /// Numberings that were ever drawn.
    drawn: i64,
}

/// The places of a relay's work at which it can die.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The next batch is made.
    Make,
    /// Kafka's transaction is committed.
    Commit,
    /// The database hears of it.
    Note,
    /// The batch is given up and the next one made.
    GiveUp,
}

impl World {
    fn new() -> Self {
        let standing = Standing { numbering: Numbering::Fresh, sent: 0, highest: 0 };
        Self { standing, position: None, sent: Vec::new(), numbering: 0, drawn: 0 }
    }

    /// Takes over; dies after so many steps of beginning, if it does. Answers whether it may go on.
    fn take_over(&mut self, dies: Option<u8>) -> Result<bool, Mismatch> {
        match compare(&self.standing, self.position)? {
            Takeover::GoOn(under_way) => self.believe(under_way),
            Takeover::Begin(under_way) => {
                self.believe(under_way);
                if dies == Some(0) {
                    return Ok(false);
                }
                self.numbering = match self.standing.numbering {
                    Numbering::Reset { next, .. } => next,
                    Numbering::Fresh | Numbering::Begun(_) => FIRST_NUMBERING,
                };
                self.drawn = self.drawn.max(self.numbering);
                self.position = Some(Position { numbering: self.numbering, batch: 0 });
                if dies == Some(1) {
                    return Ok(false);
                }
                self.standing = Standing { numbering: Numbering::Begun(self.numbering), sent: 0, highest: 0 };
            }
        }
        Ok(true)
    }

    /// What is believed of the batch under way must be so.
    fn believe(&mut self, under_way: UnderWay) {
        let Standing { numbering, sent, highest } = self.standing;
        let numbering = match numbering {
            Numbering::Fresh => return,
            Numbering::Reset { former, .. } => former,
            Numbering::Begun(begun) => begun,
        };
        if under_way == UnderWay::Sent {
            assert!(self.sent.contains(&(numbering, highest)), "said to be sent, but is not");
            self.standing.sent = highest;
            return;
        }
        let lost = |(of, batch): &(i64, i64)| *of == numbering && *batch > sent;
        assert!(!self.sent.iter().any(lost), "batch {highest} is sent, but would be sent again");
    }

    /// An operator wants a new numbering.
    fn reset(&mut self) {
        self.drawn += 1;
        let next = self.drawn;
        self.standing.numbering = match self.standing.numbering {
            Numbering::Fresh => Numbering::Reset { former: 0, next },
            Numbering::Begun(former) | Numbering::Reset { former, .. } => Numbering::Reset { former, next },
        };
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Make | Step::GiveUp => self.standing.highest = next_batch(self.standing.highest),
            Step::Commit => {
                let batch = self.standing.highest;
                self.sent.push((self.numbering, batch));
                self.position = Some(Position { numbering: self.numbering, batch });
            }
            Step::Note => self.standing.sent = self.standing.highest,
        }
    }
}

/// A life of a relay: whether the outbox was reset before it, whether and where it dies while beginning, how many
/// batches it sends, each of which it gives up on once, and after which step of the last one it dies.
type Lived = (bool, Option<u8>, u8, u8);

fn lives() -> impl Strategy<Value = Vec<Lived>> {
    vec((proptest::bool::weighted(0.2), proptest::option::of(0_u8..2), 0_u8..4, 0_u8..4), 1..12)
}

fn live(world: &mut World, (reset, dies_early, batches, dies_after): Lived) {
    if reset {
        world.reset();
    }
    if !world.take_over(dies_early).unwrap() {
        return;
    }
    for _ in 0..batches {
        [Step::Make, Step::GiveUp, Step::Commit, Step::Note].into_iter().for_each(|step| world.step(step));
    }
    let last = [Step::Make, Step::Commit, Step::Note];
    last.into_iter().take(usize::from(dies_after)).for_each(|step| world.step(step));
}

proptest! {
    #[test]
    fn whoever_dies_wherever_leaves_what_the_next_one_understands(lives in lives()) {
        let mut world = World::new();
        for life in lives {
            live(&mut world, life);
        }
        prop_assert!(world.take_over(None).is_ok());
    }

    #[test]
    fn a_restored_database_is_found_out(lives in lives(), backup in 0_usize..12) {
        let (mut world, mut saved) = (World::new(), None);
        for (number, life) in lives.into_iter().enumerate() {
            if number == backup {
                saved = Some((world.standing, world.sent.len()));
            }
            live(&mut world, life);
        }
        let Some((standing, sent_then)) = saved else { return Ok(()) };
        world.standing = standing;
        // What was under way in the backup may have been sent since: its rows are the same, so that is fine.
        if world.sent.len() > sent_then + 1 {
            let found = compare(&world.standing, world.position);
            let is_found = matches!(found, Err(Mismatch::Restored { .. } | Mismatch::OtherNumbering));
            prop_assert!(is_found, "{:?} {:?}", found, world);
        }
        world.reset();
        let reset = compare(&world.standing, world.position);
        prop_assert!(matches!(reset, Ok(Takeover::Begin(_))), "an operator's word is final: {:?}", reset);
    }

    #[test]
    fn a_word_of_an_operator_counts_once(lives in lives(), after in lives()) {
        let mut world = World::new();
        for life in lives {
            live(&mut world, life);
        }
        world.reset();
        let backup = world.standing;
        let next = world.drawn;
        for life in after {
            live(&mut world, life);
        }
        let has_begun = world.position.is_some_and(|position| position.numbering > next);
        let has_sent = world.sent.iter().any(|(of, _)| *of == next);
        world.standing = backup;
        let found = compare(&world.standing, world.position);
        let is_found = matches!(found, Err(Mismatch::OtherNumbering));
        prop_assert_eq!(is_found, has_begun || has_sent, "{:?} {:?}", found, world);
        world.reset();
        let reset = compare(&world.standing, world.position);
        prop_assert!(matches!(reset, Ok(Takeover::Begin(_))), "an operator's word is final: {:?}", reset);
    }

    #[test]
    fn a_kafka_that_lost_records_is_found_out(lives in lives(), kept in 0_usize..20) {
        let mut world = World::new();
        for life in lives {
            live(&mut world, (false, life.1, life.2, life.3));
        }
        if world.standing.sent == 0 || kept >= world.sent.len() {
            return Ok(());
        }
        world.position = None;
        prop_assert_eq!(compare(&world.standing, None), Err(Mismatch::NoPosition));
        let (numbering, batch) = world.sent[kept];
        if batch < world.standing.sent {
            let found = compare(&world.standing, Some(Position { numbering, batch }));
            prop_assert!(matches!(found, Err(Mismatch::Lost { .. })), "{:?}", found);
        }
    }

    #[test]
    fn one_bad_record_is_found_and_only_it_is_blamed(rows in 1_usize..2_000, bad in 0_usize..2_000) {
        let bad = bad % rows;
        let (mut pace, mut from, mut tries) = (Pace::new(), 0, 0);
        loop {
            tries += 1;
            prop_assert!(tries < 60, "still at {} with {} at once", from, pace.rows());
            let batch = vec!["t"; pace.rows().min(rows - from)];
            if !(from..from + batch.len()).contains(&bad) {
                pace.sent(batch.iter().copied());
                from += batch.len();
                continue;
            }
            // The broker refuses it with all that came in the same batch of the client's.
            let suspects: Vec<usize> = (0..batch.len()).collect();
            let blame = pace.refused((Duration::ZERO, Duration::ZERO), &batch, &[], &suspects);
            prop_assert!(blame.of_topic.is_empty());
            if let [guilty] = blame.at_fault.as_slice() {
                prop_assert_eq!(from + guilty, bad);
                break;
            }
            prop_assert!(blame.at_fault.is_empty(), "{:?}", blame);
        }
    }

    #[test]
    fn a_batch_holds_what_fits_and_never_nothing(sizes in vec(0_usize..100, 0..20), bytes in 0_usize..500) {
        let count = fitting(sizes.iter().copied(), bytes);
        prop_assert_eq!(count == 0, sizes.is_empty());
        let sum = |count: usize| sizes.iter().take(count).sum::<usize>();
        prop_assert!(count <= 1 || sum(count) <= bytes);
        prop_assert!(count == sizes.len() || sum(count + 1) > bytes, "one more would have fitted");
    }

    #[test]
    fn a_refusal_always_changes_something(
        topics in vec("[ab]", 1..6), paused in vec("[abc]", 0..2), suspects in vec(0_usize..8, 0..4),
    ) {
        let mut pace = Pace::new();
        pace.rows = topics.len();
        let batch: Vec<&str> = topics.iter().map(String::as_str).collect();
        let blame = pace.refused((Duration::ZERO, Duration::ZERO), &batch, &paused, &suspects);
        let leaves_out = !blame.at_fault.is_empty() || !blame.of_topic.is_empty();
        prop_assert!(leaves_out || pace.rows() < topics.len(), "the same batch would be refused for ever");
        prop_assert!(blame.at_fault.iter().chain(&blame.of_topic).all(|place| *place < topics.len()));
        prop_assert!(blame.at_fault.iter().all(|place| !blame.of_topic.contains(place)));
    }
}

#[test]
fn a_topic_that_takes_nothing_is_left_alone_for_longer_each_time() {
    let mut pace = Pace::new();
    let mut now = Duration::ZERO;
    let mut waits = Vec::new();
    for _ in 0..6 {
        let blame = pace.refused((now, Duration::ZERO), &["gone", "here"], &["gone".to_owned()], &[]);
        assert_eq!(blame, Blame { at_fault: Vec::new(), of_topic: vec![0] });
        assert_eq!(pace.paused(now), ["gone"]);
        let until = pace.topics.get("gone").unwrap().0;
        waits.push((until - now).as_secs());
        assert!(pace.paused(until).is_empty(), "its time has come");
        now = until;
    }
    assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    pace.sent(["gone"].into_iter());
    pace.refused((now, Duration::ZERO), &["gone"], &["gone".to_owned()], &[]);
    assert_eq!(
        pace.topics.get("gone").unwrap().0 - now,
        Duration::from_secs(1),
        "forgotten when it was sent"
    );
}

/// A partition without a leader is found out by a time-out, during which nothing leaves.
#[test]
fn a_topic_that_costs_all_others_time_is_tried_ever_more_seldom() {
    let (mut pace, took, mut now) = (Pace::new(), Duration::from_secs(30), Duration::ZERO);
    let mut waits = Vec::new();
    for _ in 0..6 {
        now += took;
        pace.refused((now, took), &["silent", "here"], &["silent".to_owned()], &[]);
        let until = pace.topics.get("silent").unwrap().0;
        waits.push((until - now).as_secs());
        now = until;
    }
    assert_eq!(waits, [30, 60, 120, 240, 300, 300], "others lose half of the time first, then a tenth");
}

#[test]
fn waits_double_up_to_their_limits() {
    let waits = |is_final: bool| [0, 1, 5, 9, 40].map(|attempts| wait(attempts, is_final).as_secs());
    assert_eq!(waits(false), [1, 2, 32, 300, 300]);
    assert_eq!(waits(true), [1, 2, 32, 512, 3_600]);
}

#[test]
fn a_mismatch_says_what_to_do() {
    let begun = |sent, highest| Standing { numbering: Numbering::Begun(7), sent, highest };
    let at = |numbering, batch| Some(Position { numbering, batch });
    for (standing, position, word) in [
        (begun(3, 4), at(7, 5), "restored from a backup"),
        (begun(3, 4), at(7, 2), "Kafka has lost records"),
        (begun(3, 4), None, "no position"),
        (begun(3, 4), at(8, 4), "different numberings"),
        (Standing { numbering: Numbering::Fresh, sent: 0, highest: 0 }, at(1, 1), "restored from a backup"),
        (Standing { numbering: Numbering::Fresh, sent: 0, highest: 0 }, at(7, 0), "different numberings"),
    ] {
        let said = compare(&standing, position).unwrap_err().to_string();
        assert!(said.contains(word) && said.contains("keylane outbox reset"), "{said}");
    }
    let fresh = Standing { numbering: Numbering::Fresh, sent: 0, highest: 0 };
    assert_eq!(
        compare(&fresh, at(FIRST_NUMBERING, 0)),
        Ok(Takeover::Begin(UnderWay::NotSent)),
        "one that died while it began"
    );
}
