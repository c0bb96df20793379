//! A partition is taken away while a run of it is out: the run is finished first, or, past the limit, broken off.

mod support;

use keylane_kafka::GroupProtocol::Classic;
use support::{Cluster, handover, moving};

#[tokio::test(flavor = "multi_thread")]
async fn a_revoke_waits_for_the_run_that_is_out() {
    handover::a_revoke_waits_for_the_run_that_is_out(&Cluster::start().await, Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_limit_the_run_is_broken_off_and_repeats_elsewhere() {
    let cluster = Cluster::start().await;
    handover::past_the_limit_the_run_is_broken_off_and_repeats_elsewhere(&cluster, Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_heeds_no_interruption_holds_nobody_up() {
    handover::a_run_that_heeds_no_interruption_holds_nobody_up(&Cluster::start().await, Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_has_joined() {
    handover::a_standby_has_joined(&Cluster::start().await, Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_and_go_and_each_event_happens_once() {
    moving::members_come_and_go_and_each_event_happens_once(&Cluster::start().await, Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_grows_amid_a_revoke_loses_no_member() {
    handover::a_topic_that_grows_amid_a_revoke_loses_no_member(&Cluster::start().await, Classic).await;
}
