//! A relay that hears of rows from the runs of its own process, and finds those of others by looking.

use std::sync::Arc;
use std::time::Duration;

use keylane_effects::{MailSender, OutboxRow, Relay, RelayConfig};
use keylane_engine::Claims;
use tokio::runtime::Handle;

use super::world::Ways;
use super::{Fragile, Life, World, Writer, config, emptied, mail, record, until};
use crate::suite::{Ground, claims};

/// Never, as far as a test goes.
const NEVER: Duration = Duration::from_secs(3_600);

/// A relay that looks as seldom as this.
fn looking(ground: &Ground, world: &World, life: &Arc<Life>, look: Duration) -> Relay {
    let ways: Arc<Ways> = world.ways(life);
    let mail: Arc<dyn MailSender> = ways.clone();
    let outbox = Arc::new(Fragile::new(ground.here.clone().outbox(), life));
    Relay::start(&Handle::current(), outbox, ways, Some(mail), RelayConfig { look, ..config("first") })
}

/// Each row is sent though no look comes, whether the relay waits already or is about to.
pub async fn rows_of_this_process_are_sent_without_a_look(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    let relay = looking(ground, &world, &Life::immortal(), NEVER);
    for number in 1..=20 {
        writer.write(vec![record("t", "k", &number.to_string())]).await;
        until("the record", async || world.seen().len() == number).await;
        writer.write(vec![mail(&format!("{number}@keylane"))]).await;
        until("the mail", async || world.mails().len() == number).await;
    }
    emptied(&*outbox).await;
    relay.stop().await;
}

/// A letter is no run's output, and its row is told of all the same.
pub async fn a_letter_of_this_process_is_sent_without_a_look(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let claims = claims::claims(&ground.here, "cluster");
    let fence = claims::owner(&claims).await;
    let relay = looking(ground, &world, &Life::immortal(), NEVER);
    for number in 1..=5 {
        claims.bury(fence, claims::letter(2 + i64::try_from(number).unwrap())).await.unwrap();
        until("the letter", async || world.seen().len() == number).await;
    }
    emptied(&*outbox).await;
    relay.stop().await;
}

/// A row that is committed after a look has found nothing, and before anybody waits.
pub async fn a_row_committed_behind_a_look_is_sent(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    let life = Life::until("after a batch was made", 0);
    let relay = looking(ground, &world, &life, NEVER);
    life.stopped().await;
    writer.write(vec![record("t", "k", "1")]).await;
    life.go_on();
    emptied(&*outbox).await;
    relay.stop().await;
}

/// As rows are that another process has written.
pub async fn rows_that_nobody_tells_of_are_found_by_looking(
    ground: &Ground,
    insert: impl AsyncFn(OutboxRow),
) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    let relay = looking(ground, &world, &Life::immortal(), Duration::from_millis(50));
    writer.write(vec![record("t", "k", "1")]).await;
    emptied(&*outbox).await;
    insert(OutboxRow { event_offset: 1, ..record("t", "k", "2") }).await;
    until("the other record", async || world.seen().len() == 2).await;
    emptied(&*outbox).await;
    relay.stop().await;
}
