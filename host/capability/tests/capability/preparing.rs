//! What must be there before a handler starts: its database and migrations, its mailer and sender.

use keylane_capability::{Capabilities, CapabilityError, HostResources, OpenDatabase};

use crate::support::{HANDLER, LEDGER, Surroundings};

async fn failure(surroundings: &Surroundings) -> CapabilityError {
    failure_with(surroundings, surroundings.resources().await).await
}

async fn failure_with(surroundings: &Surroundings, resources: HostResources) -> CapabilityError {
    let capabilities = Capabilities::new(resources);
    let prepared = capabilities.prepare(&surroundings.manifest, surroundings.dir.path()).await;
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
    assert!(said.contains("was edited since"), "{said}");
}

#[tokio::test]
async fn a_missing_folder_of_migrations_is_named() {
    let surroundings = Surroundings::new("");
    std::fs::remove_dir_all(surroundings.dir.path().join("migrations")).unwrap();
    let said = failure(&surroundings).await.to_string();
    assert!(said.contains("/migrations failed") && said.ends_with("there is no such folder"), "{said}");
}

#[tokio::test]
async fn a_granted_database_needs_an_address() {
    let mut surroundings = Surroundings::new("CREATE TABLE a (x);");
    surroundings.manifest.name = "email".to_owned();
    surroundings.manifest.grants.sql.remove("reports");
    assert_eq!(
        failure(&surroundings).await.to_string(),
        "the manifest of handler \"email\" grants the database \"ledger\", but the host's configuration gives it \
         no address; name one for handler \"email\", database \"ledger\""
    );
}

#[tokio::test]
async fn a_database_open_for_reading_is_none_to_write_to() {
    let surroundings = Surroundings::new("CREATE TABLE a (x);");
    let mut resources = surroundings.resources().await;
    let own = resources.databases.get_mut(HANDLER).unwrap();
    own.insert(LEDGER.to_owned(), OpenDatabase::Read(surroundings.open_reading().await));
    let error = failure_with(&surroundings, resources).await;
    assert!(matches!(error, CapabilityError::NoDatabase { grant, .. } if grant == LEDGER));
}

/// However it is addressed: the database itself says which one it is.
#[tokio::test]
async fn two_handlers_cannot_write_to_one_database() {
    let surroundings = Surroundings::new("CREATE TABLE a (x);");
    let mut resources = surroundings.resources().await;
    let theirs = |database| [("mails".to_owned(), database)].into();
    let email = "email".to_owned();
    resources.databases.insert(email.clone(), theirs(OpenDatabase::Write(surroundings.open().await)));
    assert_eq!(
        failure_with(&surroundings, resources).await.to_string(),
        "handler \"accounting\" as \"ledger\" and handler \"email\" as \"mails\" both write to the same database; \
         a handler writes to a database of its own"
    );
    let mut resources = surroundings.resources().await;
    resources.databases.insert(email, theirs(OpenDatabase::Read(surroundings.open_reading().await)));
    let capabilities = Capabilities::new(resources);
    capabilities.prepare(&surroundings.manifest, surroundings.dir.path()).await.unwrap();
}

#[tokio::test]
async fn a_prepared_handler_names_the_database_that_it_writes_to() {
    let mut surroundings = Surroundings::new("CREATE TABLE a (x);");
    let identity = surroundings.open().await.identity().clone();
    assert_eq!(surroundings.prepared().await.write_database().unwrap().identity(), &identity);
    surroundings.manifest.grants.sql.remove(LEDGER);
    surroundings.manifest.grants.mail = None;
    assert!(surroundings.prepared().await.write_database().is_none());
}

#[tokio::test]
async fn mail_needs_a_way_out_and_a_sender() {
    let mut surroundings = Surroundings::new("CREATE TABLE a (x);");
    surroundings.mailer = None;
    assert!(matches!(failure(&surroundings).await, CapabilityError::NoMailer { .. }));
    surroundings.mailer = Surroundings::new("").mailer;
    let ledger = surroundings.manifest.grants.sql.remove(LEDGER).unwrap();
    let said = failure(&surroundings).await.to_string();
    assert!(said.contains("grants mail, but no database to write to"), "{said}");
    surroundings.manifest.grants.sql.insert(LEDGER.to_owned(), ledger);
    surroundings.manifest.grants.mail.as_mut().unwrap().from = "payouts".to_owned();
    let error = failure(&surroundings).await;
    assert!(
        error.to_string().contains("names the mail sender \"payouts\", which is not an address"),
        "{error}"
    );
}
