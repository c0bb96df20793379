//! What is measured: each bound on what events do through capabilities shows how near it is, or how often it
//! was reached, and what was given back is not shown any more.

use keylane_capability::bindings::keylane::handler::{mail, producer};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use keylane_effects::{MailSender as _, letter_of};

use crate::support::{Surroundings, TOPIC_ID, at_event, event, execute, hand_over};

/// Every metric of this room that shows a bound, with its labels.
const METERS: [&str; 13] = [
    "keylane_limits_reached_total{handler=\"accounting\",capability=\"sql\"}",
    "keylane_limits_reached_total{handler=\"accounting\",capability=\"producer\"}",
    "keylane_limits_reached_total{handler=\"accounting\",capability=\"mail\"}",
    "keylane_log_lines_dropped_total{handler=\"accounting\"}",
    "keylane_mails_held{handler=\"accounting\"}",
    "keylane_mails_sent_total",
    "keylane_mails_under_way",
    "keylane_mails_waiting",
    "keylane_records_held{handler=\"accounting\"}",
    "keylane_records_held_bytes{handler=\"accounting\"}",
    "keylane_records_published_total{handler=\"accounting\"}",
    "keylane_sql_doomed_events_total{handler=\"accounting\"}",
    "keylane_sql_statements_total{handler=\"accounting\"}",
];

fn with_metrics<F: Future<Output = ()>>(test: impl FnOnce(PrometheusHandle) -> F) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let shown = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(test(shown)));
}

/// The value of one series; none if it is not shown.
fn value(shown: &PrometheusHandle, series: &str) -> Option<f64> {
    let rendered = shown.render();
    let line = rendered.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

fn record() -> producer::Message {
    producer::Message {
        topic: "payouts".to_owned(),
        key: None,
        value: Some(vec![7; 93]),
        headers: Vec::new(),
    }
}

fn letter() -> mail::Message {
    mail::Message { id: None, to: "ann@example.org".to_owned(), subject: String::new(), body: String::new() }
}

#[test]
fn every_bound_is_measured() {
    with_metrics(|shown| async move {
        let mut surroundings = Surroundings::new("CREATE TABLE t (a);");
        surroundings.limits.log_lines = 0;
        let prepared = surroundings.prepared().await;
        let (mut state, run) = at_event(&prepared, 1).await;
        execute(&mut state, "INSERT INTO t VALUES (1)", &[]).await.unwrap();
        keylane_capability::bindings::wasi::logging::logging::Host::log(
            &mut state,
            keylane_capability::bindings::wasi::logging::logging::Level::Info,
            String::new(),
            "one too many".to_owned(),
        )
        .await
        .unwrap();
        for _ in 0..2 {
            producer::Host::send(&mut state, record()).await.unwrap().unwrap();
            mail::Host::send(&mut state, letter()).await.unwrap().unwrap();
        }
        assert_eq!(value(&shown, METERS[8]), Some(2.0));
        assert_eq!(value(&shown, METERS[9]), Some(200.0));
        assert_eq!(value(&shown, METERS[4]), Some(2.0));
        // One more than the manifest allows of each.
        producer::Host::send(&mut state, record()).await.unwrap().unwrap();
        assert!(producer::Host::send(&mut state, record()).await.unwrap().is_err());
        assert!(mail::Host::send(&mut state, letter()).await.unwrap().is_err());
        let rows = state.outbox().unwrap();
        let mailer = surroundings.mailer.clone().unwrap();
        mailer.send(letter_of(rows.last().unwrap()).unwrap(), &|| true).await.unwrap();
        state.begin(&event(2), TOPIC_ID, Some(&run));
        let long = format!("SELECT '{}'", "x".repeat(surroundings.limits.statement_bytes));
        assert!(execute(&mut state, &long, &[]).await.is_err());
        assert!(state.outbox().is_err());
        state.begin(&event(3), TOPIC_ID, None);
        producer::Host::send(&mut state, record()).await.unwrap().unwrap();
        hand_over(&mut state).await.unwrap();
        assert_eq!((value(&shown, METERS[10]), value(&shown, METERS[5])), (Some(1.0), Some(1.0)));
        let [sql, producer, mail] = [0, 1, 2].map(|at| value(&shown, METERS[at]));
        assert_eq!([sql, producer, mail], [Some(1.0); 3]);
        for meter in METERS {
            assert!(value(&shown, meter).is_some(), "{meter} is not shown in\n{}", shown.render());
        }
        for given_back in [METERS[4], METERS[6], METERS[7], METERS[8], METERS[9]] {
            assert_eq!(value(&shown, given_back), Some(0.0), "{given_back}");
        }
    });
}
