//! A publisher that keeps what it gets and acknowledges as a test wants it.

use std::pin::Pin;
use std::sync::Mutex;

use keylane_engine::{Acknowledgement, OutgoingRecord, PublishError, Publisher};
use tokio::sync::{oneshot, watch};

/// When records are acknowledged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// At once.
    AtOnce,
    /// When the test says so, one by one.
    ByHand,
}

type Answer = Result<(), PublishError>;

/// Keeps records.
pub struct FakePublisher {
    acks: Acks,
    records: Mutex<Vec<OutgoingRecord>>,
    open: Mutex<Vec<Option<oneshot::Sender<Answer>>>>,
    count: watch::Sender<usize>,
}

impl FakePublisher {
    pub fn new(acks: Acks) -> Self {
        Self { acks, records: Mutex::default(), open: Mutex::default(), count: watch::Sender::new(0) }
    }

    /// What was handed over so far.
    pub fn records(&self) -> Vec<OutgoingRecord> {
        self.records.lock().unwrap().clone()
    }

    /// Waits until so many records were handed over.
    pub async fn handed_over(&self, count: usize) {
        self.count.subscribe().wait_for(|now| *now >= count).await.unwrap();
    }

    /// Acknowledges the record of this index.
    pub fn acknowledge(&self, index: usize) {
        self.answer(index, Ok(()));
    }

    /// Refuses the record of this index.
    pub fn refuse(&self, index: usize) {
        let topic = self.records()[index].topic.clone();
        self.answer(
            index,
            Err(PublishError { topic, reason: "refused by the test".to_owned(), can_retry: true }),
        );
    }

    fn answer(&self, index: usize, answer: Answer) {
        let sender = self.open.lock().unwrap()[index].take().expect("answered once");
        let _ = sender.send(answer);
    }
}

impl Publisher for FakePublisher {
    fn publish(
        &self,
        record: OutgoingRecord,
    ) -> Pin<Box<dyn Future<Output = Result<Acknowledgement, PublishError>> + Send + '_>> {
        let (sender, receiver) = oneshot::channel();
        self.records.lock().unwrap().push(record);
        let sender = if self.acks == Acks::AtOnce {
            sender.send(Ok(())).unwrap();
            None
        } else {
            Some(sender)
        };
        self.open.lock().unwrap().push(sender);
        self.count.send_modify(|count| *count += 1);
        let acknowledgement: Acknowledgement =
            Box::pin(async move { receiver.await.expect("the test keeps the sender until it answers") });
        Box::pin(async move { Ok(acknowledgement) })
    }
}
