//! Migrations of a handler: once each, all or nothing, and never the host's tables.

use std::path::Path;

use keylane_effects::{Database, DatabaseError};

use super::{Ground, kept, write_migration};

async fn refused(database: &dyn Database, folder: &Path) -> String {
    match database.migrate("handler", folder).await {
        Err(error @ DatabaseError::Migration { .. }) => {
            assert!(!error.can_retry());
            error.to_string()
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// Several hosts at once run each file once; the same again runs nothing.
pub async fn hosts_at_once_migrate_once(ground: &Ground) {
    let folder = tempfile::tempdir().unwrap();
    write_migration(folder.path(), "1_table.sql", "CREATE TABLE t (a BIGINT);");
    write_migration(folder.path(), "2_row.sql", "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);");
    let (here, there, path) = (&*ground.here, &*ground.there, folder.path());
    let all = tokio::join!(
        here.migrate("handler", path),
        there.migrate("handler", path),
        here.migrate("handler", path),
        there.migrate("handler", path)
    );
    assert_eq!(all, (Ok(()), Ok(()), Ok(()), Ok(())));
    there.migrate("handler", path).await.unwrap();
    assert_eq!(kept(here).await, [1, 2]);
}

/// An edited file, a file that is gone, an empty or missing folder: refused, with the file named.
pub async fn a_changed_history_is_refused(ground: &Ground) {
    let database = &*ground.here;
    let folder = tempfile::tempdir().unwrap();
    assert!(refused(database, folder.path()).await.contains("holds no migration"));
    assert!(refused(database, &folder.path().join("none")).await.contains("no such folder"));
    write_migration(folder.path(), "1_table.sql", "CREATE TABLE t (a BIGINT);");
    write_migration(folder.path(), "2_row.sql", "INSERT INTO t VALUES (1);");
    database.migrate("handler", folder.path()).await.unwrap();
    write_migration(folder.path(), "2_row.sql", "INSERT INTO t VALUES (2);");
    let said = refused(database, folder.path()).await;
    assert!(said.contains("2_row.sql") && said.contains("edited since"), "{said}");
    std::fs::remove_file(folder.path().join("2_row.sql")).unwrap();
    assert!(refused(database, folder.path()).await.contains("migration 2 has run before"));
    write_migration(folder.path(), "2_row.sql", "INSERT INTO t VALUES (1);");
    write_migration(folder.path(), "3_row.sql", "INSERT INTO t VALUES (3);");
    database.migrate("handler", folder.path()).await.unwrap();
    assert_eq!(kept(database).await, [1, 3]);
}

/// Two handlers of one database have histories of their own.
pub async fn handlers_have_histories_of_their_own(ground: &Ground) {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_migration(one.path(), "1_table.sql", "CREATE TABLE t (a BIGINT);");
    write_migration(other.path(), "1_other.sql", "CREATE TABLE u (a BIGINT);");
    ground.here.migrate("one", one.path()).await.unwrap();
    ground.here.migrate("other", other.path()).await.unwrap();
    ground.there.migrate("one", one.path()).await.unwrap();
}

/// A file that fails leaves nothing of itself, nor of those before it in the same start.
pub async fn a_failing_file_leaves_nothing(ground: &Ground) {
    let database = &*ground.here;
    let folder = tempfile::tempdir().unwrap();
    write_migration(folder.path(), "1_table.sql", "CREATE TABLE t (a BIGINT);");
    write_migration(folder.path(), "2_bad.sql", "INSERT INTO t VALUES (1); INSERT INTO nowhere VALUES (1);");
    assert!(refused(database, folder.path()).await.contains("2_bad.sql"));
    write_migration(folder.path(), "2_bad.sql", "INSERT INTO t VALUES (7);");
    database.migrate("handler", folder.path()).await.unwrap();
    assert_eq!(kept(database).await, [7]);
}

/// A migration reaches neither the host's tables nor the transaction that it runs in.
pub async fn a_migration_reaches_only_its_own(ground: &Ground) {
    let database = &*ground.here;
    let mut texts: Vec<String> =
        ["COMMIT", "ROLLBACK", "CREATE TABLE t (a BIGINT); COMMIT; BEGIN"].map(str::to_owned).into();
    for table in ground.words.host_tables {
        texts.push(format!("DELETE FROM {table}"));
        texts.push(format!("DROP TABLE {table}"));
        texts.push(format!("ALTER TABLE {table} ADD COLUMN mine TEXT"));
        texts.push(format!("CREATE TABLE copied AS SELECT * FROM {table}"));
    }
    for text in texts {
        let folder = tempfile::tempdir().unwrap();
        write_migration(folder.path(), "1_hostile.sql", &text);
        let said = refused(database, folder.path()).await;
        assert!(said.contains("1_hostile.sql"), "{text}: {said}");
    }
    let folder = tempfile::tempdir().unwrap();
    write_migration(folder.path(), "1_table.sql", "CREATE TABLE t (a BIGINT);");
    database.migrate("handler", folder.path()).await.unwrap();
}
