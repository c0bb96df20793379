//! The faults that befall a world, and the end of those that last.

use crate::plan::{Fault, TOPICS};
use crate::shared::Health;
use crate::world::World;

/// What ends by itself at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Later {
    Back { host: usize },
    DatabaseWell,
    KafkaWell,
    MailWell,
    TopicThere { topic: usize },
}

impl World {
    /// Lets a fault come.
    pub fn strike(&mut self, fault: Fault) {
        let now_ms = self.now_ms;
        self.shared().note(now_ms, format!("{fault:?}"));
        match fault {
            Fault::Kill { host, back_after_ms } => {
                if self.hosts[host].take().is_some() {
                    self.saw("host killed");
                    self.later(back_after_ms, Later::Back { host });
                }
            }
            Fault::Stop { host, for_ms } => {
                if let Some(host) = &mut self.hosts[host] {
                    host.stop(now_ms + for_ms);
                    self.saw("host stopped");
                }
            }
            Fault::StopAt { host, requests, for_ms } => {
                if let Some(host) = &self.hosts[host] {
                    host.stop_at(requests, for_ms);
                }
            }
            Fault::Leave { host, back_after_ms } => {
                if let Some(leaves) = self.hosts[host].as_mut().filter(|host| !host.is_leaving()) {
                    leaves.leave();
                    self.back_after_ms[host] = back_after_ms;
                    self.saw("host left");
                }
            }
            Fault::DatabaseAway { for_ms } => self.database_is(Health::Away, for_ms),
            Fault::DatabaseShaky { for_ms } => self.database_is(Health::Shaky, for_ms),
            Fault::KafkaAway { for_ms } => self.kafka_is(Health::Away, for_ms),
            Fault::KafkaShaky { for_ms } => self.kafka_is(Health::Shaky, for_ms),
            Fault::DatabaseSlow { for_ms } => self.database_is(Health::Slow, for_ms),
            Fault::KafkaSlow { for_ms } => self.kafka_is(Health::Slow, for_ms),
            Fault::Reset => self.reset(None),
            Fault::TopicMissing { topic, for_ms } => {
                self.shared().broker.missing.insert(TOPICS[topic].to_owned());
                self.later(for_ms, Later::TopicThere { topic });
            }
            Fault::MailAway { for_ms } => {
                self.shared().mail_server = Health::Away;
                self.later(for_ms, Later::MailWell);
            }
            Fault::Restore { from_ms_ago } => self.restore(from_ms_ago),
        }
    }

    fn database_is(&mut self, health: Health, for_ms: u64) {
        self.shared().database = health;
        self.later(for_ms, Later::DatabaseWell);
    }

    fn kafka_is(&mut self, health: Health, for_ms: u64) {
        self.shared().kafka = health;
        self.later(for_ms, Later::KafkaWell);
    }

    /// Ends what has lasted.
    pub fn heal(&mut self, later: Later) {
        match later {
            Later::Back { host } => self.start(host),
            Later::DatabaseWell => self.shared().database = Health::Well,
            Later::KafkaWell => self.shared().kafka = Health::Well,
            Later::MailWell => self.shared().mail_server = Health::Well,
            Later::TopicThere { topic } => {
                self.shared().broker.missing.remove(TOPICS[topic]);
            }
        }
    }
}
