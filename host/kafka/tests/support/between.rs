//! Somebody between a client and its only broker: hands on what both say, but for what a test wants otherwise
//! of single kinds of requests. Brokers' answers name their address, which is replaced by this one's.

#![allow(clippy::indexing_slicing, reason = "frames are as long as they say")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Kinds of requests, by the protocol's numbers.
pub const END_TRANSACTION: i16 = 26;
pub const OFFSETS_OF_TRANSACTION: i16 = 28;

const HOST: &[u8] = b"127.0.0.1";
/// A connection looks so often whether it is over.
const LOOK: Duration = Duration::from_millis(200);

/// What becomes of requests of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They wait until it is let go.
    Held,
    /// The broker never gets them.
    Lost,
    /// The first reaches the broker, and its answer nobody; later ones are lost.
    Unanswered,
}

#[derive(Default)]
struct Rules {
    fate: Option<(i16, Fate)>,
    /// Requests of this kind that came since the rule was made.
    met: usize,
}

#[derive(Default)]
struct Shared {
    rules: Mutex<Rules>,
    changed: Condvar,
    is_over: AtomicBool,
}

/// Listens until it is dropped.
pub struct Between {
    port: u16,
    shared: Arc<Shared>,
}

impl Between {
    /// In front of this broker, `127.0.0.1:PORT`.
    pub fn new(bootstrap: &str) -> Self {
        let broker: u16 = bootstrap.rsplit(':').next().unwrap().parse().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let all = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if all.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let Ok(server) = TcpStream::connect(("127.0.0.1", broker)) else { continue };
                connect(&all, client, server, (broker, port));
            }
        });
        Self { port, shared }
    }

    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// From now on requests of this kind have this fate.
    pub fn let_be(&self, kind: i16, fate: Fate) {
        *self.shared.rules.lock().unwrap() = Rules { fate: Some((kind, fate)), met: 0 };
    }

    /// From now on everything goes through, and what was held goes on.
    pub fn let_go(&self) {
        self.shared.rules.lock().unwrap().fate = None;
        self.shared.changed.notify_all();
    }

    /// How many requests the rule has met.
    pub fn met(&self) -> usize {
        self.shared.rules.lock().unwrap().met
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.let_go();
        // Wakes who listens.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

/// Two threads for one connection: what the client says, and what the broker answers.
fn connect(shared: &Arc<Shared>, client: TcpStream, server: TcpStream, ports: (u16, u16)) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LOOK)).unwrap();
    }
    // Correlation ids of requests whose answers nobody gets.
    let unanswered: Arc<Mutex<BTreeSet<[u8; 4]>>> = Arc::default();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (all, swallowed) = (shared.clone(), unanswered.clone());
    std::thread::spawn(move || {
        while let Some(frame) = frame(&mut from, &all) {
            if all.goes_on(&frame, &swallowed) && to.write_all(&frame).is_err() {
                break;
            }
        }
        let _both = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
    let (all, mut from, mut to) = (shared.clone(), server, client);
    std::thread::spawn(move || {
        while let Some(mut frame) = frame(&mut from, &all) {
            if frame.get(4..8).is_some_and(|id| unanswered.lock().unwrap().remove(id)) {
                continue;
            }
            readdress(&mut frame, ports);
            if to.write_all(&frame).is_err() {
                break;
            }
        }
        let _both = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}

impl Shared {
    /// Does what the rules say of a request. Answers whether the broker gets it.
    fn goes_on(&self, frame: &[u8], unanswered: &Mutex<BTreeSet<[u8; 4]>>) -> bool {
        let kind = i16::from_be_bytes([frame[4], frame[5]]);
        let mut rules = self.rules.lock().unwrap();
        let Some((_, fate)) = rules.fate.filter(|(wanted, _)| *wanted == kind) else { return true };
        rules.met += 1;
        match fate {
            Fate::Lost => false,
            Fate::Unanswered if rules.met > 1 => false,
            Fate::Unanswered => {
                unanswered.lock().unwrap().insert([frame[8], frame[9], frame[10], frame[11]]);
                true
            }
            Fate::Held => {
                let _rules = self.changed.wait_while(rules, |rules| rules.fate.is_some()).unwrap();
                true
            }
        }
    }
}

/// The next one with its length before it; none at the end of the connection.
fn frame(from: &mut TcpStream, shared: &Shared) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    fill(from, &mut frame, shared)?;
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
    frame.resize(4 + length, 0);
    fill(from, &mut frame[4..], shared)?;
    Some(frame)
}

fn fill(from: &mut TcpStream, mut place: &mut [u8], shared: &Shared) -> Option<()> {
    while !place.is_empty() {
        match from.read(place) {
            Ok(0) => return None,
            Ok(read) => place = &mut place[read..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if shared.is_over.load(Ordering::SeqCst) {
                    return None;
                }
            }
            Err(_) => return None,
        }
    }
    Some(())
}

/// A port stands behind its host wherever brokers tell one.
fn readdress(frame: &mut [u8], (broker, own): (u16, u16)) {
    let told: Vec<u8> = [HOST, &i32::from(broker).to_be_bytes()].concat();
    let mut at = 0;
    while let Some(found) = frame[at..].windows(told.len()).position(|window| window == told) {
        at += found + told.len();
        frame[at - 4..at].copy_from_slice(&i32::from(own).to_be_bytes());
    }
}
