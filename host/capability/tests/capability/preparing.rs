//! What must be there before a handler starts: its database and migrations, its mailer and sender.

use keylane_capability::{Capabilities, CapabilityError, DatabaseConfig, HostResources};

use crate::support::{HANDLER, LEDGER, Surroundings};

async fn failure(surroundings: &Surroundings) -> CapabilityError {
    let prepared = surroundings.capabilities().prepare(&surroundings.manifest, surroundings.dir.path()).await;
    prepared.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn migrations_run_once_and_new_ones_follow() {
    let surroundings = Surroundings::new("CREATE TABLE a (x);");
    surroundings.prepared().await;
    std::fs::write(surroundings.dir.path().join("migrations/2_more.sql"), "CREATE TABLE b (x);").unwrap();
    surroundings.prepared().await;
    assert!(surroundings.read("SELECT * FROM a, b").await.is_empty());
}

#[tokio::test]
async fn a_broken_migration_names_its_file_and_database() {
    let surroundings = Surroundings::new("CREATE TABLE a (x);");
    std::fs::write(surroundings.dir.path().join("migrations/2_more.sql"), "CREATE TABEL b (x);").unwrap();
    let said = failure(&surroundings).await.to_string();
    assert!(said.contains("migrations/2_more.sql failed on the database sqlite://"), "{said}");
    assert!(said.contains("near \"TABEL\": syntax error"), "{said}");
}

#[tokio::test]
async fn a_migration_that_has_run_must_not_change() {
    let surroundings = Surroundings::new("CREATE TABLE a (x);");
    surroundings.prepared().await;
    std::fs::write(surroundings.dir.path().join("migrations/1_first.sql"), "CREATE TABLE a (y);").unwrap();
    let said = failure(&surroundings).await.to_string();
    assert!(said.contains("migrations/1_first.sql"), "{said}");
    assert!(said.contains("has been changed since"), "{said}");
}

#[tokio::test]
async fn a_missing_folder_of_migrations_is_named() {
    let surroundings = Surroundings::new("");
    std::fs::remove_dir_all(surroundings.dir.path().join("migrations")).unwrap();
    let said = failure(&surroundings).await.to_string();
    assert!(said.contains("/migrations failed") && said.ends_with("there is no such folder"), "{said}");
}

#[tokio::test]
async fn an_address_without_a_driver_is_refused() {
    let mut surroundings = Surroundings::new("CREATE TABLE a (x);");
    for url in ["postgres://localhost/ledger", "sqlite::memory:", "ledger.db"] {
        surroundings.database = DatabaseConfig::new(url);
        let error = failure(&surroundings).await;
        assert!(matches!(error, CapabilityError::DatabaseUrl { .. }), "{url}: {error}");
        assert!(!error.can_retry());
    }
}

#[tokio::test]
async fn a_granted_database_needs_an_address() {
    let mut surroundings = Surroundings::new("CREATE TABLE a (x);");
    surroundings.manifest.name = "email".to_owned();
    assert_eq!(
        failure(&surroundings).await.to_string(),
        "the manifest of handler \"email\" grants the database \"ledger\", but the host's configuration gives it \
         no address; name one for handler \"email\", database \"ledger\""
    );
}

#[tokio::test]
async fn two_handlers_cannot_share_a_database() {
    let surroundings = Surroundings::new("CREATE TABLE a (x);");
    let own = std::collections::BTreeMap::from([(LEDGER.to_owned(), surroundings.database.clone())]);
    let databases = [(HANDLER.to_owned(), own.clone()), ("email".to_owned(), own)].into();
    let resources = HostResources {
        databases,
        publisher: surroundings.published.clone(),
        mailer: None,
        limits: surroundings.limits,
    };
    let prepared =
        Capabilities::new(resources).prepare(&surroundings.manifest, surroundings.dir.path()).await;
    let error = prepared.map(|_| ()).unwrap_err();
    assert!(error.to_string().starts_with("handlers \"accounting\" and \"email\" are both given"), "{error}");
}

#[tokio::test]
async fn mail_needs_a_way_out_and_a_sender() {
    let mut surroundings = Surroundings::new("CREATE TABLE a (x);");
    surroundings.mailer = None;
    assert!(matches!(failure(&surroundings).await, CapabilityError::NoMailer { .. }));
    surroundings.manifest.grants.mail.as_mut().unwrap().from = "payouts".to_owned();
    let error = failure(&surroundings).await;
    assert!(
        error.to_string().contains("names the mail sender \"payouts\", which is not an address"),
        "{error}"
    );
}

#[tokio::test]
async fn a_report_on_a_missing_database_says_so_and_makes_none() {
    let surroundings = Surroundings::new("CREATE TABLE a (x);");
    let error = keylane_capability::read_rows(&surroundings.database, "SELECT 1").await.unwrap_err();
    assert!(error.can_retry() && error.to_string().contains("ledger.db could not be read"), "{error}");
    assert!(!surroundings.dir.path().join("data/ledger.db").exists());
    surroundings.prepared().await;
    let error = keylane_capability::read_rows(&surroundings.database, "DELETE FROM a").await.unwrap_err();
    assert!(error.to_string().contains("attempt to write a readonly database"), "{error}");
    assert!(!error.can_retry());
}
