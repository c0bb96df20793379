//! What a relay hears from the runs of its own process: that rows were committed. Rows of other processes it
//! finds by looking now and then.
//!
//! Who waits: the relay of this process that has the lease, when it has found its outbox empty. Who wakes:
//! whoever has committed rows to the same database, through whichever handler's connection, after the commit;
//! also where the commit's outcome is unknown. No news is lost: a relay begins to listen before it looks, so
//! what is committed later than its look is told later than it listens. What bounds: one mark for each kind of
//! rows, however many were committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;

use crate::database::{OutboxKind, OutboxRow};

/// News by database, for as long as somebody in this process holds them.
static ALL: Mutex<BTreeMap<String, Weak<News>>> = Mutex::new(BTreeMap::new());

fn all() -> MutexGuard<'static, BTreeMap<String, Weak<News>>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of one database.
#[derive(Debug, Default)]
pub(crate) struct News {
    records: watch::Sender<()>,
    mails: watch::Sender<()>,
}

impl News {
    /// Of the database with this identity.
    pub(super) fn of(database: &str) -> Arc<Self> {
        let mut all = all();
        if let Some(news) = all.get(database).and_then(Weak::upgrade) {
            return news;
        }
        all.retain(|_, news| news.strong_count() > 0);
        let news = Arc::<Self>::default();
        all.insert(database.to_owned(), Arc::downgrade(&news));
        news
    }

    /// Listens for rows of this kind that are committed from now on.
    pub(super) fn listen(self: &Arc<Self>, kind: OutboxKind) -> Listener {
        let news = match kind {
            OutboxKind::Record => self.records.subscribe(),
            OutboxKind::Mail => self.mails.subscribe(),
        };
        Listener { news, _of: self.clone() }
    }
}

/// Which kinds of rows a run has written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    records: bool,
    mails: bool,
}

impl Written {
    /// These.
    pub(crate) fn of(rows: &[OutboxRow]) -> Self {
        let has = |kind| rows.iter().any(|row| row.kind == kind);
        Self { records: has(OutboxKind::Record), mails: has(OutboxKind::Mail) }
    }

    /// They are committed, or may be, in the database with this identity.
    pub(crate) fn tell(self, database: &str) {
        let Some(news) = all().get(database).and_then(Weak::upgrade) else { return };
        if self.records {
            news.records.send_replace(());
        }
        if self.mails {
            news.mails.send_replace(());
        }
    }
}

/// One who listens.
pub(super) struct Listener {
    news: watch::Receiver<()>,
    _of: Arc<News>,
}

impl Listener {
    /// From now on, only what is told later is news. Before each look.
    pub(super) fn listen(&mut self) {
        self.news.mark_unchanged();
    }

    /// Waits for news.
    pub(super) async fn heard(&mut self) {
        // It holds who tells it; if nobody could any more, there would be no news.
        if self.news.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn row(kind: OutboxKind) -> OutboxRow {
        let topic = "t".to_owned();
        OutboxRow { event_offset: 0, ordinal: 0, kind, topic, key: None, value: None, headers: Vec::new() }
    }

    async fn hears(listener: &mut Listener) -> bool {
        tokio::time::timeout(Duration::from_secs(3_600), listener.heard()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn each_kind_is_told_to_those_who_listen_for_it_in_its_database() {
        let news = News::of("one");
        let (mut records, mut mails) = (news.listen(OutboxKind::Record), news.listen(OutboxKind::Mail));
        let mut elsewhere = News::of("two").listen(OutboxKind::Record);
        Written::of(&[row(OutboxKind::Record)]).tell("one");
        assert!(hears(&mut records).await, "it was told before it waited, and after it listened");
        assert!(!hears(&mut records).await, "once");
        assert!(!hears(&mut mails).await);
        assert!(!hears(&mut elsewhere).await);
        Written::of(&[row(OutboxKind::Mail)]).tell("one");
        mails.listen();
        assert!(!hears(&mut mails).await, "it is no news any more");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_of_a_database_that_is_closed() {
        let kept = |name: &str| all().contains_key(name);
        drop(News::of("closed"));
        let _open = News::of("open");
        assert!(kept("open") && !kept("closed"));
    }
}
