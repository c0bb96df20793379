//! What is read of the handlers' tables, and what those make of a statement that fails.

use sqlx::SqliteConnection;

use super::*;

#[test]
fn the_one_that_writes_is_known_by_its_lock() {
    let line = "3: POSIX  ADVISORY  WRITE 4711 fd:01:1234 120 120";
    assert!(holds_the_writer(line, 4711));
    assert!(!holds_the_writer(line, 471) && !holds_the_writer(&line.replace("WRITE", "READ "), 4711));
    assert!(!holds_the_writer(&line.replace("120 120", "124 124"), 4711));
    assert!(!holds_the_writer(&line.replace(": POSIX", ": -> POSIX"), 4711), "one that waits");
}

/// Makes the handlers' tables, with this beside them, and answers the connection that did.
async fn filled(ledger: &Ledger, file: &Path, more: &str) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    let text = AssertSqlSafe(ledger.migration() + more);
    sqlx::raw_sql(text).execute(&mut connection).await.unwrap();
    connection
}

/// What the witness does not tell of must be worse than a statement alone that failed.
#[test]
fn one_of_the_statements_that_fail_ends_a_whole_transaction() {
    let (ends, fails) =
        ("INSERT INTO single (one) VALUES (1)", "INSERT INTO total (one, entries) VALUES (1, 0)");
    let witness = include_str!("../../../guests/ledger-witness/src/lib.rs");
    assert!(witness.contains(ends) && witness.contains(fails), "the witness has others");
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::sqlite(folder.path()).unwrap();
    ledger.runtime.block_on(async {
        let mut connection = filled(&ledger, &folder.path().join("ledger.db"), "").await;
        for (failing, stands) in [(fails, 7_i64), (ends, 0)] {
            sqlx::raw_sql("BEGIN; UPDATE total SET entries = 7").execute(&mut connection).await.unwrap();
            assert!(sqlx::raw_sql(failing).execute(&mut connection).await.is_err());
            let entries = sqlx::query("SELECT entries FROM total").fetch_one(&mut connection).await.unwrap();
            assert_eq!(entries.get::<i64, usize>(0), stands, "{failing}");
            let is_open = sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.is_ok();
            assert_eq!(is_open, stands == 7, "{failing}");
        }
    });
}

#[test]
fn what_a_file_holds_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::sqlite(folder.path()).unwrap();
    let file = folder.path().join("ledger.db");
    ledger.runtime.block_on(async {
        let more = "CREATE TABLE keylane_outbox (id); INSERT INTO keylane_outbox VALUES (1);
            CREATE TABLE keylane_stream (id, topic, partition); CREATE TABLE keylane_floor (stream, floor);
            INSERT INTO keylane_stream VALUES (1, 'chaos-input', 3), (2, 'chaos-input', 4), (3, 'other', 5);
            INSERT INTO keylane_floor VALUES (1, 70), (3, 50);
            INSERT INTO ledger VALUES (5, 50, 3, 7, 'a', 2, 6, 'told'), (6, 51, 3, 8, NULL, NULL, NULL, 'x');
            INSERT INTO account VALUES (3, 'a', 2, 7); UPDATE total SET entries = 4";
        filled(&ledger, &file, more).await.close().await.unwrap();
    });
    assert_eq!((ledger.last_id().unwrap(), ledger.unsent().unwrap()), (6, 1));
    let row =
        LedgerRow { value_id: 51, place: (3, 8), key: None, entry: None, after: None, told: "x".to_owned() };
    assert_eq!(ledger.rows_after(5).unwrap(), [row]);
    assert_eq!(ledger.rows_after(4).unwrap()[0].entry, Some(2));
    assert_eq!(ledger.floors().unwrap(), BTreeMap::from([(3, 70)]));
    let accounts = Accounts::from([((3, "a".to_owned()), (2, 7))]);
    assert_eq!(ledger.sums().unwrap(), Sums { accounts, shared: 4 });
}
