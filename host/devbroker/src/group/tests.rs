//! The group's state machine, driven by hand with a made-up clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;

use super::*;

const SESSION: Duration = Duration::from_secs(10);
const DELAY: Duration = Duration::from_millis(100);

struct Driver {
    group: Group,
    now: Instant,
}

impl Driver {
    fn new() -> Self {
        let now = Instant::now();
        Self { group: Group::new(DELAY, 5, now), now }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.group.expire(self.now);
    }

    fn request(id: &str, instance: Option<&str>) -> JoinRequest {
        JoinRequest {
            member_id: id.into(),
            instance: instance.map(Into::into),
            client_id: "c".into(),
            session: SESSION,
            rebalance: Duration::from_secs(60),
            protocol_type: "consumer".into(),
            protocols: vec![("cooperative-sticky".into(), Bytes::from_static(b"meta"))],
            id_first: true,
        }
    }

    /// Learns an id, then joins with it.
    fn join_new(&mut self) -> (String, oneshot::Receiver<JoinAnswer>) {
        let Answer::Now(told) = self.group.join(Self::request("", None), self.now) else {
            panic!("told at once")
        };
        assert_eq!(told.error, Some(ResponseError::MemberIdRequired));
        (told.member_id.clone(), self.join_as(&told.member_id))
    }

    fn join_as(&mut self, id: &str) -> oneshot::Receiver<JoinAnswer> {
        match self.group.join(Self::request(id, None), self.now) {
            Answer::Later(waiting) => waiting,
            Answer::Now(answer) => panic!("answered at once: {answer:?}"),
        }
    }

    fn sync(
        &mut self,
        id: &str,
        generation: i32,
        assignments: &[(&str, &'static str)],
    ) -> Answer<SyncAnswer> {
        let assignments: HashMap<String, Bytes> =
            assignments.iter().map(|(id, a)| ((*id).to_owned(), Bytes::from_static(a.as_bytes()))).collect();
        let request = SyncRequest {
            member_id: id.into(),
            instance: None,
            generation,
            protocol_type: None,
            protocol: None,
            assignments,
        };
        self.group.sync(request, self.now)
    }

    /// Two members in a stable group: (leader, follower).
    fn two_members() -> (Self, String, String) {
        let mut d = Self::new();
        let (a, mut a_joined) = d.join_new();
        let (b, mut b_joined) = d.join_new();
        d.pass(DELAY);
        let (a_told, b_told) = (a_joined.try_recv().unwrap(), b_joined.try_recv().unwrap());
        assert_eq!((a_told.generation, b_told.generation), (1, 1));
        let leader = a_told.leader.clone();
        let follower = if leader == a { b } else { a };
        let Answer::Later(mut follower_synced) = d.sync(&follower, 1, &[]) else {
            panic!("waits for the leader")
        };
        let Answer::Later(mut leader_synced) = d.sync(&leader, 1, &[(&leader, "x"), (&follower, "y")]) else {
            panic!("answered by channel")
        };
        assert_eq!(leader_synced.try_recv().unwrap().assignment, "x");
        assert_eq!(follower_synced.try_recv().unwrap().assignment, "y");
        assert_eq!(d.group.phase, Phase::Stable);
        (d, leader, follower)
    }
}

#[test]
fn members_that_start_together_share_the_first_generation() {
    let (mut d, leader, follower) = Driver::two_members();
    assert_eq!(d.group.heartbeat(&leader, None, 1, d.now), Ok(()));
    assert_eq!(d.group.heartbeat(&follower, None, 0, d.now), Err(ResponseError::IllegalGeneration));
    assert_eq!(d.group.heartbeat("x", None, 1, d.now), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_silent_member_is_out_and_the_other_takes_over() {
    let (mut d, leader, follower) = Driver::two_members();
    d.pass(SESSION / 2);
    assert_eq!(d.group.heartbeat(&follower, None, 1, d.now), Ok(()));
    d.pass(SESSION / 2);
    assert_eq!(d.group.phase, Phase::PreparingRebalance);
    assert_eq!(d.group.heartbeat(&follower, None, 1, d.now), Err(ResponseError::RebalanceInProgress));
    assert_eq!(d.group.heartbeat(&leader, None, 1, d.now), Err(ResponseError::UnknownMemberId));
    let told = d.join_as(&follower).try_recv().unwrap();
    assert_eq!((told.generation, told.leader, told.members.len()), (2, follower, 1));
}

#[test]
fn who_does_not_come_back_in_time_is_left_out() {
    let (mut d, leader, follower) = Driver::two_members();
    let (new, mut joined) = d.join_new();
    let mut again = d.join_as(&leader);
    for _ in 0..12 {
        d.pass(Duration::from_secs(5));
        // Heartbeats keep the session, but it never joins.
        let _rebalancing = d.group.heartbeat(&follower, None, 1, d.now);
    }
    assert_eq!(again.try_recv().unwrap().generation, 2);
    assert_eq!(joined.try_recv().unwrap().member_id, new);
    assert_eq!(d.group.members().count(), 2);
    assert_eq!(d.group.heartbeat(&follower, None, 2, d.now), Err(ResponseError::UnknownMemberId));
}

#[test]
fn commits_are_fenced_by_generation() {
    let (mut d, leader, _) = Driver::two_members();
    assert_eq!(d.group.may_commit(&leader, None, 1, d.now), Ok(()));
    assert_eq!(d.group.may_commit(&leader, None, 0, d.now), Err(ResponseError::IllegalGeneration));
    assert_eq!(d.group.may_commit("", None, -1, d.now), Err(ResponseError::UnknownMemberId));
    let (_new, _joined) = d.join_new();
    assert_eq!(d.group.may_commit(&leader, None, 1, d.now), Ok(()), "while others are joining");
}

#[test]
fn the_last_one_to_leave_empties_the_group() {
    let (mut d, leader, follower) = Driver::two_members();
    assert_eq!(d.group.leave(&leader, None, d.now), Ok(()));
    assert_eq!(d.group.leave(&leader, None, d.now), Err(ResponseError::UnknownMemberId));
    assert_eq!(d.group.leave(&follower, None, d.now), Ok(()));
    assert_eq!((d.group.phase, d.group.generation), (Phase::Empty, 2));
    assert_eq!(d.group.may_commit("", None, -1, d.now), Ok(()));
}

#[test]
fn a_restarted_static_member_keeps_its_assignment_and_fences_the_old_one() {
    let mut d = Driver::new();
    let Answer::Later(mut joined) = d.group.join(Driver::request("", Some("host-1")), d.now) else {
        panic!()
    };
    d.pass(DELAY);
    let first = joined.try_recv().unwrap();
    let old = first.member_id.clone();
    let Answer::Later(_) = d.sync(&old, 1, &[(&old, "all")]) else { panic!() };
    let Answer::Now(again) = d.group.join(Driver::request("", Some("host-1")), d.now) else { panic!() };
    assert_eq!((again.error, again.generation), (None, 1));
    assert_ne!(again.member_id, old);
    let Answer::Now(synced) = d.sync(&again.member_id, 1, &[]) else { panic!() };
    assert_eq!(synced.assignment, "all");
    assert_eq!(d.group.heartbeat(&old, Some("host-1"), 1, d.now), Err(ResponseError::FencedInstanceId));
    assert_eq!(d.group.heartbeat(&again.member_id, Some("host-1"), 1, d.now), Ok(()));
}

#[test]
fn strangers_and_a_crowd_are_refused() {
    let (mut d, _, _) = Driver::two_members();
    let mut stranger = Driver::request("", None);
    stranger.protocols = vec![("range".into(), Bytes::new())];
    let Answer::Now(told) = d.group.join(stranger, d.now) else { panic!() };
    assert_eq!(told.error, Some(ResponseError::InconsistentGroupProtocol));
    for _ in 0..3 {
        let _asked = d.group.join(Driver::request("", None), d.now);
    }
    let Answer::Now(told) = d.group.join(Driver::request("", None), d.now) else { panic!() };
    assert_eq!(told.error, Some(ResponseError::GroupMaxSizeReached));
}
