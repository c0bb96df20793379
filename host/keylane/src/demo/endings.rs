//! How the story of every record should end, handler by handler: told by the manifests and by what the
//! records are.

use keylane_deployment::{Subscribe, Untyped};

use super::exchange::{Books, RecordKind};

/// How many of a handler's records end in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Endings {
    /// Handled.
    pub(super) done: u64,
    /// Not wanted, and ended without the handler.
    pub(super) filtered: u64,
    /// Refused by the handler for good.
    pub(super) dead_lettered: u64,
}

impl Endings {
    /// What should become of a handler's records.
    pub(super) fn of(subscribe: &Subscribe, books: &Books) -> Self {
        let mut endings = Self::default();
        let subscribed = |topic: &str| subscribe.topics.iter().any(|name| name == topic);
        for ((_, kind), records) in books.records.iter().filter(|((topic, _), _)| subscribed(topic)) {
            *endings.which(subscribe, *kind) += records;
        }
        endings
    }

    /// A record that reaches the handler and is broken is refused by it: each way of being broken is one
    /// that the handlers' library turns into a rejection.
    fn which(&mut self, subscribe: &Subscribe, kind: RecordKind) -> &mut u64 {
        let event_type = match kind {
            RecordKind::Whole(event_type) => Some(event_type),
            RecordKind::Broken(broken) => broken.event_type(),
        };
        let asks_for_all = subscribe.events.is_empty();
        let wanted =
            |event_type: &str| asks_for_all || subscribe.events.iter().any(|name| name == event_type);
        match (event_type, kind) {
            (Some(event_type), _) if !wanted(event_type) => &mut self.filtered,
            (Some(_), RecordKind::Whole(_)) => &mut self.done,
            (Some(_), RecordKind::Broken(_)) => &mut self.dead_lettered,
            (None, _) if !asks_for_all && subscribe.untyped == Untyped::Skip => &mut self.filtered,
            (None, _) => &mut self.dead_lettered,
        }
    }

    /// All of them.
    pub(super) fn all(self) -> u64 {
        self.done + self.filtered + self.dead_lettered
    }
}

#[cfg(test)]
mod tests {
    use keylane_deployment::{Document, Manifest};

    use super::*;
    use crate::demo::exchange::Broken;
    use crate::demo::topics::{ACCOUNT_ENTRIES, PAYOUTS, TASK_LIFECYCLE};

    fn endings(subscribe: &str) -> Endings {
        let text = format!("name = \"h\"\ncomponent = \"h.wasm\"\n[subscribe]\n{subscribe}");
        let document = Document::from_text(std::path::Path::new("handler.toml"), &text);
        let manifest = Manifest::from_document(&document).unwrap();
        let mut books = Books::default();
        let kinds = [
            (TASK_LIFECYCLE, RecordKind::Whole("task.assigned"), 1_000),
            (TASK_LIFECYCLE, RecordKind::Whole("task.completed"), 500),
            (ACCOUNT_ENTRIES, RecordKind::Whole("account.entry.posted"), 1_500),
            (PAYOUTS, RecordKind::Whole("payout.made"), 70),
        ];
        books.records.extend(kinds.map(|(topic, kind, records)| ((topic, kind), records)));
        for (records, broken) in [1, 2, 4, 8].into_iter().zip(Broken::ALL) {
            books.records.insert((TASK_LIFECYCLE, RecordKind::Broken(broken)), records);
        }
        Endings::of(&manifest.subscribe, &books)
    }

    #[test]
    fn what_is_wanted_and_whole_is_done() {
        let both = "topics = [\"task-lifecycle\"]\nevents = [\"task.assigned\", \"task.completed\"]";
        assert_eq!(endings(both), Endings { done: 1_500, filtered: 4, dead_lettered: 1 + 2 + 8 });
        let one = "topics = [\"account-entries\", \"task-lifecycle\"]\n\
                   events = [\"account.entry.posted\", \"task.completed\"]";
        assert_eq!(endings(one), Endings { done: 2_000, filtered: 1_000 + 4 + 8, dead_lettered: 1 + 2 });
        assert_eq!(endings("topics = [\"payouts\"]").all(), 70);
    }

    #[test]
    fn the_manifest_decides_about_records_without_a_type() {
        let skip = "topics = [\"task-lifecycle\"]\nevents = [\"task.completed\"]\nuntyped = \"skip\"";
        assert_eq!(endings(skip), Endings { done: 500, filtered: 1_000 + 2 + 4 + 8, dead_lettered: 1 });
        let bury = "topics = [\"task-lifecycle\"]\nevents = [\"task.completed\"]\nuntyped = \"dead-letter\"";
        assert_eq!(endings(bury), Endings { done: 500, filtered: 1_000 + 4 + 8, dead_lettered: 1 + 2 });
    }
}
