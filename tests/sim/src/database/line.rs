//! A host's end of the way to a handler's database.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keylane_engine::Fence;
use tokio::sync::oneshot;

use super::request::{Answer, Call, Request};

/// One process's end. What it sends is fetched at the end of the host's turn.
pub struct Line {
    /// Which process, of all that ever were.
    life: u64,
    host: u8,
    limit: Duration,
    sent: Mutex<Vec<Call>>,
    /// In which life of the server each partition was taken.
    boots: Mutex<BTreeMap<i64, u64>>,
    transactions: AtomicU64,
}

/// A run's transaction. Dropping it closes its connection.
pub struct Transaction {
    line: Arc<Line>,
    pub number: u64,
    is_over: bool,
}

impl Line {
    pub fn new(life: u64, host: u8, limit: Duration) -> Arc<Self> {
        Arc::new(Self {
            life,
            host,
            limit,
            sent: Mutex::default(),
            boots: Mutex::default(),
            transactions: AtomicU64::new(1),
        })
    }

    /// Sends; the answer comes later, or never.
    fn send(&self, request: Request) -> oneshot::Receiver<(Answer, u64)> {
        let (reply, answer) = oneshot::channel();
        let stream = request.stream().filter(|_| !matches!(request, Request::Take { .. }));
        let boot = stream.and_then(|stream| self.boots.lock().unwrap().get(&stream).copied());
        let call = Call { life: self.life, host: self.host, boot, request, reply };
        self.sent.lock().unwrap().push(call);
        answer
    }

    /// Sends and waits. An answer that does not come in time is a connection that broke.
    pub async fn ask(&self, request: Request) -> Answer {
        let answered = tokio::time::timeout(self.limit, self.send(request)).await;
        let Ok(Ok((answer, boot))) = answered else { return Answer::Gone };
        if let Answer::Taken(Some(hold)) = &answer {
            self.boots.lock().unwrap().insert(hold.fence.stream, boot);
        }
        answer
    }

    pub fn take_sent(&self) -> Vec<Call> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }
}

impl Transaction {
    /// Begins a transaction under this fence.
    pub async fn begin(line: &Arc<Line>, fence: Fence) -> Result<Self, Answer> {
        let number = (line.life << 32) + line.transactions.fetch_add(1, Ordering::Relaxed);
        let begun = Self { line: line.clone(), number, is_over: false };
        match line.ask(Request::Begin { transaction: number, fence }).await {
            Answer::Done => Ok(begun),
            answer => Err(answer),
        }
    }

    /// Asks something of it. Whatever is not done ends it.
    pub async fn ask(&mut self, request: Request) -> Result<(), Answer> {
        match self.line.ask(request).await {
            Answer::Done => Ok(()),
            answer => Err(answer),
        }
    }

    /// Nothing is open any more.
    pub fn has_ended(&mut self) {
        self.is_over = true;
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.is_over {
            drop(self.line.send(Request::Close { transaction: self.number }));
        }
    }
}
