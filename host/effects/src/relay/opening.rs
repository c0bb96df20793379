//! Opens the way to Kafka after a takeover or a reconnect, and finds out what became of the batch under way.

use keylane_engine::Epoch;

use crate::relay::core::{self, FIRST_NUMBERING, Takeover};
use crate::relay::ports::{Position, RelaySender};
use crate::relay::store::{Advance, Numbering, Standing, UnderWay};
use crate::relay::task::{End, Work};

/// Where the records begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    pub(super) numbering: i64,
    /// Where the outbox stands.
    pub(super) standing: Standing,
    /// What became of the last batch that was made.
    pub(super) under_way: UnderWay,
}

impl Work {
    pub(super) async fn open(&self, epoch: Epoch) -> Result<(Box<dyn RelaySender>, Opened), End> {
        let (mut sender, position) = self.senders.open(self.outbox.database()).await?;
        // Only now it is sure that whoever has been overtaken can send no more.
        let standing = self.outbox.renew(epoch, self.config.lease).await?;
        match core::compare(&standing, position) {
            Ok(Takeover::GoOn(under_way)) => {
                let numbering = position.map_or(0, |position| position.numbering);
                Ok((sender, Opened { numbering, standing, under_way }))
            }
            Ok(Takeover::Begin(under_way)) => {
                let opened = self.begin(epoch, sender.as_mut(), standing, under_way).await?;
                Ok((sender, opened))
            }
            Err(mismatch) => {
                if let Some(Position { numbering, .. }) = position {
                    self.outbox.know_numbering(epoch, numbering).await?;
                }
                Err(End::Stopped(mismatch.to_string()))
            }
        }
    }

    /// Begins a numbering. The batch of the one before is ended first: once Kafka has the new position, nobody
    /// can find out any more that the batch was sent.
    async fn begin(
        &self,
        epoch: Epoch,
        sender: &mut dyn RelaySender,
        standing: Standing,
        under_way: UnderWay,
    ) -> Result<Opened, End> {
        if under_way == UnderWay::Sent {
            let lease = self.config.lease;
            let (refused, paused) = (Vec::new(), Vec::new());
            let end = Advance { expected: standing, under_way, refused, paused, rows: 0, bytes: 0, lease };
            self.outbox.advance(epoch, end).await?;
        }
        let numbering = match standing.numbering {
            Numbering::Reset { next, .. } => next,
            Numbering::Fresh | Numbering::Begun(_) => FIRST_NUMBERING,
        };
        sender.send(Vec::new(), Position { numbering, batch: 0 }).await?;
        self.outbox.begin_numbering(epoch, numbering).await?;
        let standing = Standing { numbering: Numbering::Begun(numbering), sent: 0, highest: 0 };
        Ok(Opened { numbering, standing, under_way: UnderWay::NotSent })
    }
}
