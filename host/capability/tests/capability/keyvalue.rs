//! Buckets of values as a guest meets them: in the run of its event, within limits, and doomed with it.

use keylane_capability::keyvalue::atomics::{self, CasError};
use keylane_capability::keyvalue::store::{Error, HostBucket};
use keylane_capability::keyvalue::{BucketHandle, batch, store};
use keylane_capability::{CapabilityError, EffectsError, GuestState};
use keylane_deployment::KeyValueGrant;
use wasmtime::component::Resource;

use crate::support::{Surroundings, TOPIC_ID, at_event, commit, event, execute};

const TABLE: &str = "CREATE TABLE entries (id INTEGER PRIMARY KEY);";

fn surroundings() -> Surroundings {
    let mut surroundings = Surroundings::new(TABLE);
    let buckets = vec!["seen".to_owned()];
    surroundings.manifest.grants.keyvalue = Some(KeyValueGrant { buckets });
    surroundings
}

async fn bucket(state: &mut GuestState) -> Resource<BucketHandle> {
    store::Host::open(state, "seen".to_owned()).await.unwrap().unwrap()
}

async fn get(state: &mut GuestState, key: &str) -> Result<Option<Vec<u8>>, Error> {
    let bucket = bucket(state).await;
    HostBucket::get(state, bucket, key.to_owned()).await.unwrap()
}

async fn set(state: &mut GuestState, key: &str, value: &[u8]) -> Result<(), Error> {
    let bucket = bucket(state).await;
    HostBucket::set(state, bucket, key.to_owned(), value.to_vec()).await.unwrap()
}

async fn add(state: &mut GuestState, key: &str, delta: i64) -> Result<i64, Error> {
    let bucket = bucket(state).await;
    atomics::Host::increment(state, bucket, key.to_owned(), delta).await.unwrap()
}

fn said(error: Error) -> String {
    match error {
        Error::Other(said) => said,
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn values_become_real_with_their_event() {
    let surroundings = surroundings();
    let prepared = surroundings.prepared().await;
    let (mut state, run) = at_event(&prepared, 1).await;
    set(&mut state, "a", b"1").await.unwrap();
    assert_eq!(add(&mut state, "n", 5).await.unwrap(), 5);
    assert_eq!(add(&mut state, "n", -7).await.unwrap(), -2);
    let rows = state.outbox().unwrap();
    commit(&run, 1, &rows).await.unwrap();

    let (mut state, run) = at_event(&prepared, 2).await;
    set(&mut state, "a", b"2").await.unwrap();
    state.forget();
    run.take().unwrap().rollback().await;

    let (mut state, _run) = at_event(&prepared, 3).await;
    assert_eq!(get(&mut state, "a").await.unwrap(), Some(b"1".to_vec()));
    assert_eq!(get(&mut state, "n").await.unwrap(), Some(b"-2".to_vec()), "a number is its digits");
}

#[tokio::test]
async fn a_bucket_that_is_not_granted_does_not_open() {
    let surroundings = surroundings();
    let prepared = surroundings.prepared().await;
    let (mut state, _run) = at_event(&prepared, 1).await;
    for name in ["other", "", "SEEN", "seen\0"] {
        let opened = store::Host::open(&mut state, name.to_owned()).await.unwrap();
        assert!(matches!(opened, Err(Error::AccessDenied)), "{name:?}");
    }
    assert!(state.outbox().is_ok(), "no more came of it");
}

#[tokio::test]
async fn what_fails_dooms_its_event_and_no_other() {
    let surroundings = surroundings();
    let prepared = surroundings.prepared().await;
    let long = "k".repeat(surroundings.limits.key_bytes + 1);
    let large = vec![0; surroundings.limits.value_bytes + 1];
    for hostile in 0..5 {
        let (mut state, run) = at_event(&prepared, 1).await;
        set(&mut state, "text", b"no number").await.unwrap();
        let failed = match hostile {
            0 => set(&mut state, &long, b"").await.unwrap_err(),
            1 => set(&mut state, "a", &large).await.unwrap_err(),
            2 => add(&mut state, "text", 1).await.unwrap_err(),
            3 => {
                add(&mut state, "most", i64::MAX).await.unwrap();
                add(&mut state, "most", 1).await.unwrap_err()
            }
            _ => {
                let (bucket, keys) =
                    (bucket(&mut state).await, vec![String::new(); surroundings.limits.keys + 1]);
                batch::Host::get_many(&mut state, bucket, keys).await.unwrap().unwrap_err()
            }
        };
        let failed = said(failed);
        let words =
            ["1024 are allowed", "1048576 are allowed", "no whole number", "does not fit", "1000 keys"];
        assert!(failed.contains(words[hostile]), "{hostile}: {failed}");
        let later = said(get(&mut state, "text").await.unwrap_err());
        assert!(later.contains("earlier statement"), "{later}");
        let statement = execute(&mut state, "INSERT INTO entries (id) VALUES (1)", &[]).await;
        assert!(statement.is_err(), "the event's statements are refused as well");
        let closed = state.outbox();
        assert!(matches!(closed, Err(EffectsError::Doomed { .. })), "{closed:?}");
        drop((state, run));
        let (mut state, _run) = at_event(&prepared, 2).await;
        set(&mut state, "a", b"1").await.unwrap();
        assert!(state.outbox().is_ok());
    }
}

#[tokio::test]
async fn a_value_that_is_asked_for_often_weighs_as_often() {
    let mut surroundings = surroundings();
    surroundings.limits.result_bytes = 1_000;
    let prepared = surroundings.prepared().await;
    let (mut state, _run) = at_event(&prepared, 1).await;
    set(&mut state, "a", &[0; 400]).await.unwrap();
    for (times, allowed) in [(2, true), (3, false)] {
        let (bucket, keys) = (bucket(&mut state).await, vec!["a".to_owned(); times]);
        let values = batch::Host::get_many(&mut state, bucket, keys).await.unwrap();
        assert_eq!(values.is_ok(), allowed, "{times} times");
    }
}

#[tokio::test]
async fn a_failed_statement_ends_the_values_as_well() {
    let surroundings = surroundings();
    let prepared = surroundings.prepared().await;
    let (mut state, _run) = at_event(&prepared, 1).await;
    set(&mut state, "a", b"1").await.unwrap();
    execute(&mut state, "INSERT INTO nowhere VALUES (1)", &[]).await.unwrap_err();
    assert!(said(get(&mut state, "a").await.unwrap_err()).contains("earlier statement"));
    assert!(state.outbox().is_err());
}

#[tokio::test]
async fn a_change_by_comparison_takes_place_once() {
    let surroundings = surroundings();
    let prepared = surroundings.prepared().await;
    let (mut state, _run) = at_event(&prepared, 1).await;
    let state = &mut state;
    let mut handles = Vec::new();
    for _ in 0..2 {
        let bucket = bucket(state).await;
        handles.push(atomics::HostCas::new(state, bucket, "a".to_owned()).await.unwrap().unwrap());
    }
    let second = handles.pop().unwrap();
    let first = handles.pop().unwrap();
    assert!(atomics::Host::swap(state, first, b"one".to_vec()).await.unwrap().is_ok());
    let refused = atomics::Host::swap(state, second, b"two".to_vec()).await.unwrap();
    let Err(CasError::CasFailed(again)) = refused else { panic!("the value had changed") };
    let same = Resource::new_borrow(again.rep());
    assert_eq!(atomics::HostCas::current(state, same).await.unwrap().unwrap(), Some(b"one".to_vec()));
    assert!(atomics::Host::swap(state, again, b"two".to_vec()).await.unwrap().is_ok());
    assert_eq!(get(state, "a").await.unwrap(), Some(b"two".to_vec()));
    assert!(state.outbox().is_ok(), "a comparison that fails is no failure of the event");
}

#[tokio::test]
async fn batches_and_pages_are_in_order() {
    let mut surroundings = surroundings();
    surroundings.limits.keys = 3;
    let prepared = surroundings.prepared().await;
    let (mut state, _run) = at_event(&prepared, 1).await;
    let state = &mut state;
    let pair = |key: &str, value: &str| (key.to_owned(), value.as_bytes().to_vec());
    let opened = bucket(state).await;
    let twice = vec![pair("b", "1"), pair("a", "2"), pair("b", "3")];
    batch::Host::set_many(state, opened, twice).await.unwrap().unwrap();
    set(state, "c", b"4").await.unwrap();
    set(state, "d", b"5").await.unwrap();
    let opened = bucket(state).await;
    let keys = ["c", "none", "b"].map(str::to_owned).to_vec();
    let values = batch::Host::get_many(state, opened, keys).await.unwrap().unwrap();
    assert_eq!(values, [Some(pair("c", "4")), None, Some(pair("b", "3"))]);
    let opened = bucket(state).await;
    let page = HostBucket::list_keys(state, opened, None).await.unwrap().unwrap();
    assert_eq!((page.keys.join(""), page.cursor.as_deref()), ("abc".to_owned(), Some("c")));
    let opened = bucket(state).await;
    let page = HostBucket::list_keys(state, opened, page.cursor).await.unwrap().unwrap();
    assert_eq!((page.keys.join(""), page.cursor), ("d".to_owned(), None));
}

#[tokio::test]
async fn without_a_run_there_are_no_values() {
    let surroundings = surroundings();
    let prepared = surroundings.prepared().await;
    let mut state = prepared.state();
    assert!(get(&mut state, "a").await.is_err(), "at instantiation");
    state.begin(&event(1), TOPIC_ID, None);
    assert!(get(&mut state, "a").await.is_err(), "beside a run");
}

#[tokio::test]
async fn values_need_a_database() {
    let mut surroundings = surroundings();
    surroundings.manifest.grants.sql.clear();
    surroundings.manifest.grants.mail = None;
    let refused = surroundings.capabilities().check(&surroundings.manifest, &[]).unwrap_err();
    assert!(matches!(refused, CapabilityError::KeyValueNeedsDatabase { .. }), "{refused}");
    assert!(refused.to_string().contains("add a [grants.sql.NAME]"), "{refused}");
}
