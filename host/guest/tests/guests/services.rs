//! A guest that asks services: by HTTP, for values by key, for its configuration. What it may not do, what
//! takes too long, what is too much, and what happens to it when an event is handled again.

use std::time::Duration;

use keylane_deployment::{ConfigGrant, HttpGrant, KeyValueGrant};
use keylane_engine::{FailureClass, Outcome};
use keylane_test_support::Log;

use crate::fake_publisher::Acks;
use crate::service::Service;
use crate::stage::{Loaded, Stage, attempt, failure};
use crate::tls_service::TlsService;
use crate::transactions::outbox;

/// A guest's own time, shorter than the waits of these tests.
const TIME: Duration = Duration::from_secs(1);
/// The time of one host call, longer than anything that should end.
const HOST_CALL: Duration = Duration::from_secs(20);

fn stage(service: &Service) -> Stage {
    let mut stage = Stage::of("services").with_database(None).with_producer(Acks::AtOnce).time(TIME);
    stage.manifest.limits.host_call = HOST_CALL;
    let grants = &mut stage.manifest.grants;
    grants.keyvalue = Some(KeyValueGrant { buckets: vec!["seen".into()] });
    let values = [("currency".to_owned(), "EUR".to_owned())].into();
    grants.config = Some(ConfigGrant { values });
    grants.http = Some(HttpGrant {
        hosts: vec![format!("http://{}", service.address).parse().unwrap()],
        idempotency_key: true,
        requests_max: 3,
        request_bytes_max: 2_000_000,
        response_bytes_max: 100_000,
    });
    stage
}

/// What an event's script was told, line by line; the event must end well.
async fn told(loaded: &Loaded, script: &str) -> Vec<String> {
    let before = outbox(&loaded.file()).await.len();
    assert_eq!(loaded.one(script).await, Outcome::Done, "{script}");
    let rows = outbox(&loaded.file()).await;
    assert_eq!(rows.len(), before + 1);
    rows.last().unwrap().2.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn services() {
    let service = Service::start().await;
    let loaded = stage(&service).load().await;
    let script = format!(
        "get {}\npost {} a b\nset a 1\nlook a\nadd n 5\nmany\nremove c\nkeys\nvalue currency\nvalue other\nvalues",
        service.url("ok?q=1"),
        service.url("put")
    );
    let expected = [
        "200 4 fine",
        "200 4 fine",
        "set",
        "Some(\"1\")",
        "5",
        "[Some(\"C\"), None, Some(\"A\")] true",
        "removed",
        "([\"a\", \"n\"], None)",
        "Some(\"EUR\")",
        "None",
        "[(\"currency\", \"EUR\")]",
    ];
    assert_eq!(told(&loaded, &script).await, expected);
    let seen = service.seen();
    assert_eq!(seen[0].line, "GET /ok?q=1 HTTP/1.1");
    assert_eq!(seen[0].header("host"), [service.address.to_string()]);
    assert_eq!((seen[1].line.as_str(), seen[1].body.as_str()), ("POST /put HTTP/1.1", "a b"));
    assert_eq!(
        told(&loaded, "look a\nadd n 2\nswap a 2 3\nswap a 2 3\nlook a").await,
        ["Some(\"A\")", "7", "stands Some(\"2\")", "swapped Some(\"2\")", "Some(\"3\")",]
    );
}

#[tokio::test]
async fn a_repeat_carries_the_same_key_and_no_other_request_does() {
    let service = Service::start().await;
    let loaded = stage(&service).load().await;
    let url = service.url("ok");
    let script = |end: &str| format!("get {url}\npost {url} x\n{end}");
    let mut first = attempt(40, 0, &script("retry"));
    assert_eq!(failure(&loaded.run(vec![first.clone()]).await[0]).0, FailureClass::Retry);
    first.number = 2;
    loaded.run(vec![first.clone()]).await;
    loaded.run(vec![attempt(41, 0, &script(""))]).await;
    let keys: Vec<_> = service.seen().iter().map(|seen| seen.header("idempotency-key").join(",")).collect();
    let of = |offset: u64| [0, 1].map(|ordinal| format!("guest.BwcHBwcHBwcHBwcHBwcHBw.3.{offset}.{ordinal}"));
    // A failed event is done once more with a savepoint before it is charged.
    let repeats = (keys.len() - 2) / 2;
    assert!(repeats >= 2, "{keys:?}");
    let expected: Vec<_> = std::iter::repeat_n(of(40), repeats).chain([of(41)]).flatten().collect();
    assert_eq!(keys, expected);
    let mut replayed = stage(&service).load().await;
    replayed.fence.as_mut().unwrap().replay = 2;
    replayed.run(vec![attempt(40, 0, &script(""))]).await;
    let keys: Vec<_> = service.seen().iter().map(|seen| seen.header("idempotency-key").join(",")).collect();
    assert_eq!(&keys[expected.len()..], of(40).map(|key| key + ".again-2"), "an operator wants it once more");
    let other = stage(&service).load().await;
    let own = told(&other, &format!("own {url}")).await;
    assert!(own[0].starts_with("request refused") && own[0].contains("Forbidden"), "{own:?}");
    assert_eq!(service.seen().len(), keys.len(), "nothing left");
}

#[tokio::test]
async fn a_request_goes_nowhere_but_to_granted_hosts() {
    let (service, other) = (Service::start().await, Service::start().await);
    let loaded = stage(&service).load().await;
    let (port, elsewhere) = (service.address.port(), other.address);
    for url in [
        other.url("secret"),
        format!("http://localhost:{port}/secret"),
        format!("http://127.0.0.1:{port}@{elsewhere}/secret"),
        format!("http://{elsewhere}@127.0.0.1:{port}/secret"),
        format!("http://{elsewhere}#127.0.0.1:{port}/secret"),
        format!("https://127.0.0.1:{port}/secret"),
        format!("http://0x7f000001:{port}/secret"),
        format!("http://[::ffff:127.0.0.1]:{port}/secret"),
        "http://169.254.169.254/secret".to_owned(),
    ] {
        let told = told(&loaded, &format!("get {url}")).await;
        assert!(told[0].starts_with("request refused"), "{url}: {told:?}");
    }
    let told = told(&loaded, &format!("tunnel {}", service.url("secret"))).await;
    assert!(told[0].starts_with("request refused"), "{told:?}");
    assert_eq!((service.seen(), other.seen()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_redirection_is_told_and_not_followed() {
    let service = Service::start().await;
    let loaded = stage(&service).load().await;
    let answer = told(&loaded, &format!("get {}", service.url("elsewhere"))).await;
    assert!(answer[0].starts_with("302 0"), "{answer:?}");
    assert_eq!(service.seen().len(), 1);
}

#[tokio::test]
async fn what_is_too_large_or_too_much_is_refused() {
    let service = Service::start().await;
    let loaded = stage(&service).load().await;
    let script = format!("get {}\nget {}", service.url("large/100000"), service.url("large/100001"));
    let answers = told(&loaded, &script).await;
    assert!(answers[0].starts_with("200 100000 xxx"), "{answers:?}");
    assert!(answers[1].contains("HttpResponseBodySize(Some(100000))"), "{answers:?}");
    let endless = told(&loaded, &format!("get {}", service.url("endless"))).await;
    assert!(endless[0].contains("HttpResponseBodySize"), "{endless:?}");
    let script = format!("heavy {} 2000000\nheavy {} 2000001", service.url("ok"), service.url("never"));
    let answers = told(&loaded, &script).await;
    assert_eq!(answers[0], "200 4 fine");
    assert!(answers[1].starts_with("request refused") && answers[1].contains("BodySize"), "{answers:?}");
    let seen = service.seen();
    assert_eq!(seen.last().unwrap().body.len(), 2_000_000, "what is too large did not leave");
    let answers = told(&loaded, &vec![format!("get {}", service.url("ok")); 4].join("\n")).await;
    assert_eq!(answers[2], "200 4 fine");
    assert!(answers[3].contains("ConnectionLimitReached"), "the fourth of three: {answers:?}");
}

/// The bound is the HTTP client's own, and wider than that of a request's headers.
#[tokio::test]
async fn an_answer_whose_headers_are_too_large_is_refused() {
    let service = Service::start().await;
    let loaded = stage(&service).load().await;
    let of = |bytes: u32| format!("get {}", service.url(&format!("headers/{bytes}")));
    let answers = told(&loaded, &[of(60_000), of(1_000_000), of(60_000)].join("\n")).await;
    let too_large = "request failed: ErrorCode::HttpProtocolError";
    assert_eq!(answers, ["200 4 fine", too_large, "200 4 fine"]);
}

/// No host can be told to trust a certificate that no authority of the web has signed, so this is all that a
/// service of a test's own can show.
#[tokio::test]
async fn a_service_whose_certificate_nobody_trusts_is_asked_nothing() {
    let Some(service) = TlsService::start() else { return };
    let mut stage = stage(&Service::start().await);
    let host = format!("127.0.0.1:{}", service.port);
    stage.manifest.grants.http.as_mut().unwrap().hosts = vec![host.parse().unwrap()];
    let loaded = stage.load().await;
    let (log, _kept) = Log::keep(tracing::Level::WARN);
    let answer = told(&loaded, &format!("post https://{host}/secret words")).await;
    assert_eq!(answer, ["request failed: ErrorCode::TlsProtocolError"]);
    assert!(!log.lines("UnknownIssuer").is_empty(), "{:?}", log.lines(""));
    service.until_it_says("alert unknown ca");
    service.until_it_is_asked_by_one_who_trusts_it("/known");
    assert!(!service.said().contains("/secret"), "{}", service.said());
}

#[tokio::test]
async fn waiting_for_an_answer_is_not_the_guests_time_and_ends() {
    let service = Service::start().await;
    let mut stage = stage(&service);
    stage.manifest.limits.host_call = Duration::from_secs(6);
    let loaded = stage.load().await;
    let slow = told(&loaded, &format!("get {}", service.url("slow/2500"))).await;
    assert_eq!(slow, ["200 4 late"], "more than twice its own time");
    for path in ["silent", "stall"] {
        let answers = told(&loaded, &format!("get {}\nget {}", service.url(path), service.url("ok"))).await;
        assert!(answers[0].contains("Timeout"), "{path}: {answers:?}");
        assert!(
            answers[1].contains("ConnectionLimitReached"),
            "an event's waits have one call's time: {answers:?}"
        );
    }
    let brief = told(&loaded, &format!("brief {}", service.url("silent"))).await;
    assert!(brief[0].contains("ConnectionReadTimeout"), "{brief:?}");
    let broken = told(&loaded, &format!("get {}", service.url("broken"))).await;
    assert!(broken[0].starts_with("request failed"), "{broken:?}");
    let asleep = loaded.one("sleep 5000").await;
    assert_eq!(failure(&asleep).0, FailureClass::Timeout, "sleep is the guest's own time: {asleep:?}");
}

#[tokio::test]
async fn an_answer_that_nobody_awaits_fails_its_event() {
    let service = Service::start().await;
    let loaded = stage(&service).load().await;
    let outcome = loaded.one(&format!("leave {}", service.url("silent"))).await;
    let (class, reason) = failure(&outcome);
    assert_eq!(class, FailureClass::Retry);
    assert!(reason.contains("must await each"), "{reason}");
    assert_eq!(outbox(&loaded.file()).await, [], "nothing of it is committed");
    assert_eq!(told(&loaded, &format!("get {}", service.url("ok"))).await, ["200 4 fine"]);
}

#[tokio::test]
async fn values_are_undone_with_their_event() {
    let service = Service::start().await;
    let loaded = stage(&service).load().await;
    let outcomes =
        loaded.each(&["set a 1\nadd n 1", "set a 2\nadd n 1\nretry", "add n 1\ntrap", "add n 1"]).await;
    assert_eq!((&outcomes[0], &outcomes[3]), (&Outcome::Done, &Outcome::Done));
    assert_eq!(failure(&outcomes[1]).0, FailureClass::Retry);
    assert_eq!(failure(&outcomes[2]).0, FailureClass::Trap);
    assert_eq!(told(&loaded, "look a\nlook n").await, ["Some(\"1\")", "Some(\"2\")"]);
    for hostile in
        ["sql DELETE FROM keylane_keyvalue", "sql INSERT INTO keylane_keyvalue VALUES ('seen', 'b', 'c')"]
    {
        let outcome = loaded.one(&format!("{hostile}\nset a 3")).await;
        assert_eq!(failure(&outcome).0, FailureClass::Retry, "{hostile}");
    }
    assert_eq!(
        told(&loaded, "bucket other\nkeys").await,
        ["not granted by the manifest: bucket \"other\"", "([\"a\", \"n\"], None)"]
    );
}

#[tokio::test]
async fn what_is_not_granted_is_not_linked() {
    let service = Service::start().await;
    for (import, grant) in [
        ("wasi:http/", "[grants.http]"),
        ("wasi:keyvalue/", "[grants.keyvalue]"),
        ("wasi:config/", "[grants.config]"),
    ] {
        let mut stage = stage(&service);
        let grants = &mut stage.manifest.grants;
        match import {
            "wasi:http/" => grants.http = None,
            "wasi:keyvalue/" => grants.keyvalue = None,
            _ => grants.config = None,
        }
        let refusal = stage.refusal().await;
        assert!(refusal.contains(import) && refusal.contains(grant), "{refusal}");
    }
}
