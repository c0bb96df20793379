//! Values: every kind comes back as it went in, and NULL is none of them.

use keylane_effects::{EndedAs, Value};

use super::{Ground, LONG, did, owner, rows};

/// Every kind, through a run and through the read address.
pub async fn every_kind_comes_back(ground: &Ground) {
    let (database, words) = (&*ground.here, &ground.words);
    let fence = owner(
        database,
        &format!(
            "CREATE TABLE t (b BOOLEAN, i BIGINT, f DOUBLE PRECISION, x TEXT, y {}, s {}, d {})",
            words.bytes, words.timestamp, words.decimal
        ),
    )
    .await;
    let lines = [
        vec![
            Value::Boolean(true),
            Value::Integer(i64::MIN),
            Value::Float(-0.1),
            Value::Text("ä \u{1f980} ' \" $1 ; --".to_owned()),
            Value::Bytes(vec![0, 255, 39]),
            Value::Timestamp(1_767_225_600_123_456),
            Value::Decimal("12345678901234567890.0100".to_owned()),
        ],
        vec![
            Value::Boolean(false),
            Value::Integer(i64::MAX),
            Value::Float(1e300),
            Value::Text(String::new()),
            Value::Bytes(Vec::new()),
            Value::Timestamp(-1),
            Value::Decimal("-0.5".to_owned()),
        ],
        vec![Value::Null; 7],
    ];
    let mut run = database.begin(&fence).await.unwrap();
    for line in &lines {
        run = did(database, run, "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7)", line.clone()).await;
    }
    let (inside, run) = rows(database, run, "SELECT * FROM t", Vec::new()).await;
    run.finish(&[], &[(0, EndedAs::Done)], LONG).await.unwrap();
    let statement = super::checked(database, "SELECT * FROM t", &[]);
    let outside = database.query(statement, Vec::new(), super::LIMITS, LONG).await.unwrap();
    assert_eq!(inside, outside);
    assert_eq!(inside.columns, ["b", "i", "f", "x", "y", "s", "d"]);
    for (line, back) in lines.iter().zip(&inside.rows) {
        let as_text = |value: &Value| match value {
            Value::Decimal(text) => Value::Text(text.clone()),
            other => other.clone(),
        };
        let sent: Vec<_> = line.iter().map(as_text).collect();
        assert_eq!(sent, back.iter().map(as_text).collect::<Vec<_>>());
    }
    assert_eq!(inside.rows.len(), lines.len());
}

/// A query without rows still names its columns.
pub async fn columns_are_named_without_rows(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, "CREATE TABLE t (a BIGINT, b TEXT)").await;
    let run = database.begin(&fence).await.unwrap();
    let (rows, run) = rows(database, run, "SELECT b, a AS c FROM t WHERE a = $1", vec![Value::Null]).await;
    assert_eq!((rows.columns, rows.rows.len()), (vec!["b".to_owned(), "c".to_owned()], 0));
    run.rollback().await;
}

/// The number of changed rows is the statement's own.
pub async fn changes_are_counted(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, "CREATE TABLE t (a BIGINT)").await;
    let mut run = database.begin(&fence).await.unwrap();
    for (text, expected) in [
        ("INSERT INTO t VALUES (1), (2), (3)", 3),
        ("UPDATE t SET a = a + 1 WHERE a > 1", 2),
        ("UPDATE t SET a = a WHERE a = 99", 0),
        ("DELETE FROM t WHERE a = 1", 1),
    ] {
        let (changed, next) = super::execute(database, run, text, Vec::new()).await.unwrap();
        assert_eq!(changed, expected, "{text}");
        run = next;
    }
    run.rollback().await;
}
