//! A guest's log lines: where they go, and how many of them.

use keylane_capability::bindings::wasi::logging::logging::{Host, Level};
use keylane_test_support::Log;

use crate::support::{Surroundings, TOPIC_ID, event};

#[tokio::test]
async fn lines_name_handler_and_event_and_are_capped() {
    let mut surroundings = Surroundings::new("CREATE TABLE t (a);");
    surroundings.limits.log_lines = 2;
    surroundings.limits.log_line_bytes = 5;
    let mut state = surroundings.prepared().await.state();
    let (log, _keeping) = Log::keep(tracing::Level::INFO);
    for offset in [42, 43] {
        state.begin(&event(offset), TOPIC_ID, None);
        for message in ["höchst wichtig", "two", "three"] {
            Host::log(&mut state, Level::Warn, "books".to_owned(), message.to_owned()).await.unwrap();
        }
    }
    let text = log.lines("").join("\n");
    for offset in [42, 43] {
        let fields =
            format!("handler=\"accounting\" topic=\"tasks\" partition=7 offset={offset} context=\"books\"");
        assert_eq!(text.matches(&fields).count(), 2, "{text}");
    }
    assert_eq!(text.matches("höch").count(), 2, "{text}");
    assert!(!text.contains("höchs") && !text.contains("three"), "{text}");
    assert_eq!(text.matches("the event's share of log lines is used up").count(), 2, "{text}");
    assert!(text.contains("WARN"), "{text}");
}
