//! How many messages a run says to the server, and so how often it waits for one: counted on the way there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use keylane_effects::{Database, DatabaseConfig, EndedAs, OutboxKind, OutboxRow, Value, open};
use keylane_engine::Fence;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::ground::{Ground, LONG, begin, execute, migrate, query, take};

/// What comes before a connection speaks of anything else has no type: whether it may be encrypted, and who it
/// is. The first of these has this code.
const ASKS_FOR_TLS: u32 = 80_877_103;
/// A simple query, and the execution of a prepared one: each is followed by a wait for its answer.
const QUERY: u8 = b'Q';
const EXECUTE: u8 = b'E';

/// Messages that wait for an answer, by connection.
type Counts = Arc<Mutex<BTreeMap<u16, u32>>>;

/// Passes all of a connection's messages on, and counts.
async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, connection: u16, counts: Counts) {
    let mut is_known = false;
    while let Ok(message) = next(&mut from, is_known).await {
        if is_known && [QUERY, EXECUTE].contains(&message[0]) {
            *counts.lock().unwrap().entry(connection).or_default() += 1;
        }
        is_known |= !message.ends_with(&ASKS_FOR_TLS.to_be_bytes());
        if to.write_all(&message).await.is_err() {
            return;
        }
    }
}

/// The next message, whole.
async fn next(from: &mut OwnedReadHalf, has_kind: bool) -> std::io::Result<Vec<u8>> {
    let mut message = if has_kind { vec![from.read_u8().await?] } else { Vec::new() };
    let length = from.read_u32().await?;
    message.extend(length.to_be_bytes());
    let rest = message.len();
    message.resize(rest + usize::try_from(length).unwrap() - 4, 0);
    from.read_exact(&mut message[rest..]).await?;
    Ok(message)
}

/// Something that listens on a port and passes on what it hears to the server at this one.
async fn counter(server: u16) -> (u16, Counts) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let counts = Counts::default();
    let counting = counts.clone();
    tokio::spawn(async move {
        while let Ok((client, from)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            let ((client_says, mut to_client), (mut server_says, to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(pass_on(client_says, to_server, from.port(), counting.clone()));
            tokio::spawn(async move { tokio::io::copy(&mut server_says, &mut to_client).await });
        }
    });
    (port, counts)
}

/// Reads a row, inserts two, changes one, and sends a record if it is to.
async fn run(database: &dyn Database, fence: &Fence, offset: i64, sends: bool) {
    let number = [Value::Integer(offset)];
    let (_, mut run) =
        query(database, begin(database, fence).await, "select a from t where a = $1", &number).await.unwrap();
    for text in ["insert into t values ($1)", "insert into t values (-$1)", "update u set n = n + $1"] {
        (_, run) = execute(database, run, text, &number).await.unwrap();
    }
    let row = || OutboxRow {
        event_offset: offset,
        ordinal: 0,
        kind: OutboxKind::Record,
        topic: "out".to_owned(),
        key: None,
        value: None,
        headers: Vec::new(),
    };
    let rows: Vec<_> = sends.then(row).into_iter().collect();
    run.finish(&rows, &[(offset, EndedAs::Done)], LONG).await.unwrap();
}

/// By hand it is BEGIN, the row that tells repeats apart, the four statements, the row of the outbox, and COMMIT:
/// eight, and seven where nothing is sent.
pub async fn a_run_costs_no_more_messages_than_by_hand(ground: &Ground<'_>) {
    let config = ground.config();
    let port = config.write.rsplit_once(':').unwrap().1.split('/').next().unwrap().to_owned();
    let (counting, counts) = counter(port.parse().unwrap()).await;
    let write = config.write.replace(&format!(":{port}/"), &format!(":{counting}/"));
    let database = open(&DatabaseConfig { write, write_connections: 1, ..config }).await.unwrap();
    migrate(database.as_ref(), "CREATE TABLE t (a bigint); CREATE TABLE u (n bigint)").await;
    let fence = take(database.as_ref()).await;
    // Statements are prepared once for each connection.
    for offset in [1, 2] {
        run(database.as_ref(), &fence, offset, true).await;
    }
    for (offset, sends, most) in [(3, true, 8), (4, false, 6)] {
        let before = counts.lock().unwrap().clone();
        run(database.as_ref(), &fence, offset, sends).await;
        let after = counts.lock().unwrap().clone();
        let said = |(connection, count): (&u16, &u32)| count - before.get(connection).copied().unwrap_or(0);
        // One connection has it all; the others look after slow statements.
        assert_eq!(after.iter().map(said).max(), Some(most), "sends {sends}");
    }
}
