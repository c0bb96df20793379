//! Mails of a handler, sent by a relay through a server that refuses one recipient for good.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keylane_capability::{Mailer, SmtpConfig, SmtpSecurity};
use keylane_effects::{
    Database, DatabaseConfig, EndedAs, Letter, OpenedSender, Outbox, OutboxRow, Parked, Position, Relay,
    RelayConfig, RelaySender, RelaySenders, ResultLimits, SendError, StatementLimits, Value, mail_row, open,
};
use keylane_engine::{Boxed, Fence, OutgoingRecord};
use keylane_kafka::BootTime;
use keylane_test_support::SmtpServer;
use tokio::runtime::Handle;

use super::{LIMIT, folder, json, own, said, stream};

const NOBODY: &str = "nobody@example.org";

/// A Kafka that takes a relay's position and never a record: the handler here makes mails alone.
struct NoRecords;

impl RelaySenders for NoRecords {
    fn open(&self, _: &str) -> Boxed<'_, Result<OpenedSender, SendError>> {
        Box::pin(async { Ok((Box::new(Self) as Box<dyn RelaySender>, None)) })
    }
}

impl RelaySender for NoRecords {
    fn send(&mut self, records: Vec<OutgoingRecord>, _: Position) -> Boxed<'_, Result<(), SendError>> {
        assert_eq!(records, []);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A relay that sends mails through this server.
fn relay(outbox: Arc<dyn Outbox>, server: &SmtpServer) -> Relay {
    let config = SmtpConfig {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        security: SmtpSecurity::None,
        credentials: None,
        timeout: LIMIT,
    };
    let mailer = Arc::new(Mailer::smtp(&config).unwrap());
    let relay = RelayConfig::new("exchange", "host", "audit", Arc::new(BootTime));
    Relay::start(&Handle::current(), outbox, Arc::new(NoRecords), Some(mailer), relay)
}

/// The mail of an event at this offset.
fn mail(offset: i64, to: &str) -> OutboxRow {
    let letter = Letter {
        message_id: format!("audit.{offset}@example.org"),
        from: "audit@example.org".to_owned(),
        to: vec![to.to_owned()],
        message: format!("Message-ID: <audit.{offset}@example.org>\r\nSubject: x\r\n\r\n").into_bytes(),
    };
    mail_row(offset, 0, &letter)
}

/// One run of events, each of which writes a row of its own and sends one mail.
async fn paid(database: &Arc<dyn Database>, fence: &Fence, mails: &[(i64, &str)]) {
    let mut run = database.begin(fence).await.unwrap();
    for (offset, _) in mails {
        let (text, offset) = ("INSERT INTO paid VALUES ($1)", vec![Value::Integer(*offset)]);
        let statement = database.check(text, &offset, &StatementLimits::default()).unwrap();
        run = run.execute(statement, offset, LIMIT).await.unwrap().1;
    }
    let rows: Vec<_> = mails.iter().map(|(offset, to)| mail(*offset, to)).collect();
    let endings: Vec<_> = mails.iter().map(|(offset, _)| (*offset, EndedAs::Done)).collect();
    run.finish(&rows, &endings, LIMIT).await.unwrap();
}

/// The handler's database, with the table that its events write to.
async fn database(folder: &Path) -> Arc<dyn Database> {
    let migrations = folder.join("migrations");
    std::fs::create_dir(&migrations).unwrap();
    std::fs::write(migrations.join("0001_paid.sql"), "CREATE TABLE paid (offset_of INTEGER);").unwrap();
    let database = open(&DatabaseConfig::sqlite(&folder.join("audit.db"))).await.unwrap();
    database.migrate("audit", &migrations).await.unwrap();
    database
}

/// Waits until the server has these mails and the one that it refuses is parked.
async fn all_but_one_have_gone(server: &SmtpServer, outbox: &dyn Outbox, taken: &[&str]) {
    let begun = Instant::now();
    loop {
        let mut gone: Vec<_> = server.mails().into_iter().flat_map(|mail| mail.to).collect();
        gone.sort();
        let left = outbox.list(false, 10).await.unwrap();
        if gone == taken && left.len() == 1 && left[0].parked == Parked::Waits {
            return;
        }
        assert!(begun.elapsed() < LIMIT, "{gone:?} have gone, these are left: {left:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_refused_for_good_waits_alone() {
    let folder = folder();
    let folder = folder.path();
    let server = SmtpServer::start_that_refuses(NOBODY).unwrap();
    let database = database(folder).await;
    let fence = own(&database).await;
    let outbox = database.clone().outbox();
    let relay = relay(outbox.clone(), &server);
    paid(&database, &fence, &[(7, "ann@example.org"), (8, NOBODY), (9, "bob@example.org")]).await;
    all_but_one_have_gone(&server, &*outbox, &["ann@example.org", "bob@example.org"]).await;
    paid(&database, &fence, &[(10, "cid@example.org")]).await;
    let all = ["ann@example.org", "bob@example.org", "cid@example.org"];
    all_but_one_have_gone(&server, &*outbox, &all).await;
    relay.stop().await;

    let listed = json(folder, &["--refused"]);
    assert_eq!((&listed["mails"], &listed["records"]), (&1.into(), &0.into()));
    let row = &listed["rows"][0];
    assert_eq!((&row["key"], &row["event_offset"]), (&"audit.8@example.org".into(), &8.into()));
    let words = format!("127.0.0.1:{}: permanent error (550): no mailbox of this name", server.port());
    assert_eq!(row["last_error"], words);
    let text = said(folder, &["outbox", "list", "audit", "--refused"]);
    assert!(text.contains("permanent error (550): no mailbox"), "{text}");
    assert_eq!(database.take(&stream(), LIMIT).await.unwrap().ended, [7, 8, 9, 10]);
    let query = database.check("SELECT offset_of FROM paid", &[], &StatementLimits::default()).unwrap();
    let limits = ResultLimits { rows: 10, bytes: 10_000 };
    let rows = database.query(query, Vec::new(), limits, LIMIT).await.unwrap().rows;
    assert_eq!(rows, [7, 8, 9, 10].map(|offset| vec![Value::Integer(offset)]));
}
