//! A guest's log lines: where they go, and how many of them.

use std::io::Write;
use std::sync::{Arc, Mutex};

use keylane_capability::bindings::wasi::logging::logging::{Host, Level};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Surroundings, TOPIC_ID, event};

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn lines_name_handler_and_event_and_are_capped() {
    let mut surroundings = Surroundings::new("CREATE TABLE t (a);");
    surroundings.limits.log_lines = 2;
    surroundings.limits.log_line_bytes = 5;
    let mut state = surroundings.prepared().await.state();
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(kept.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    for offset in [42, 43] {
        state.begin(&event(offset), TOPIC_ID, None);
        for message in ["höchst wichtig", "two", "three"] {
            Host::log(&mut state, Level::Warn, "books".to_owned(), message.to_owned()).await.unwrap();
        }
    }
    let text = kept.text();
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
