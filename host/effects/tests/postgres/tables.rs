//! The host's own tables: what stands in them, and those of another version.

use keylane_effects::{DatabaseError, open};

use crate::ground::Ground;
use crate::{pair_of, suite};

pub async fn tables_of_another_version_are_refused_and_left_as_they_are(ground: &Ground<'_>) {
    let config = ground.config();
    drop(open(&config).await.unwrap());
    let admin = ground.admin(&config).await;
    let changes = "UPDATE keylane.meta SET version = 7; DROP TABLE keylane.keyvalue; \
                   REVOKE CREATE ON SCHEMA public FROM keylane_guest";
    sqlx::raw_sql(changes).execute(&admin).await.unwrap();
    let stands = async || {
        let text = "SELECT concat_ws(' ', has_schema_privilege('keylane_guest', 'public', 'CREATE'), \
                        (SELECT database_id FROM keylane.meta), string_agg(relname, ' ' ORDER BY relname)) \
                    FROM pg_class WHERE relnamespace = 'keylane'::regnamespace";
        sqlx::query_scalar::<_, String>(text).fetch_one(&admin).await.unwrap()
    };
    let before = stands().await;
    assert!(before.starts_with("f ") && !before.contains("keyvalue"), "{before}");
    let refused = open(&config).await.err().unwrap();
    assert!(matches!(refused, DatabaseError::Tables { .. }) && !refused.can_retry(), "{refused:?}");
    for said in ["of version 7", "run the version of keylane that made them", "a fresh database"] {
        assert!(refused.to_string().contains(said), "{refused}");
    }
    assert_eq!(stands().await, before);
}

pub async fn an_ending_is_claimed_as_what_it_is(ground: &Ground<'_>) {
    let config = ground.config();
    let pair = pair_of(&config).await;
    let claims = async || {
        let text = "SELECT event_offset, ended_as::bigint FROM keylane.claim ORDER BY 1";
        sqlx::query_as(text).fetch_all(&ground.admin(&config).await).await.unwrap()
    };
    suite::claims::an_ending_is_claimed_as_what_it_is(&pair, claims).await;
}

pub async fn a_late_call_for_keys_is_stopped(ground: &Ground<'_>) {
    let config = ground.config();
    let pair = pair_of(&config).await;
    let slowed = async || {
        let slow = "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS \
                    $$ BEGIN PERFORM pg_catalog.pg_sleep(0.1); RETURN NEW; END $$; \
                    CREATE TRIGGER slowed BEFORE INSERT ON keylane.keyvalue \
                    FOR EACH ROW EXECUTE FUNCTION public.slow()";
        sqlx::raw_sql(slow).execute(&ground.admin(&config).await).await.unwrap();
    };
    suite::keyvalue::a_late_call_is_stopped(&pair, slowed).await;
}
