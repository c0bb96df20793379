//! Why a member has no partition: the likely reason, in words an operator can act on.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

use super::group::Group;
use super::poller::Failure;
use crate::config::GroupProtocol;

/// The longest a question to the brokers may take; the polling thread waits for it, and has little else
/// to do.
pub(super) const PROBE_LIMIT: Duration = Duration::from_millis(700);

/// The client does not say that a broker is too old for the group's protocol.
const KIP_848_DOUBT: &str = "; or the brokers do not know this group protocol: `group-protocol = \"consumer\"` needs \
                             Kafka 4.0";

/// What the client has reported since partitions were last held.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    refused: Option<Code>,
}

/// How the coordinator sees the group.
struct GroupView {
    state: String,
    members: usize,
}

impl Reasons {
    /// The newest refusal counts.
    pub(super) fn heard(&mut self, error: &ClientError) {
        let code = error.rdkafka_error_code();
        if code.is_some_and(|code| in_words(code).is_some()) {
            self.refused = code;
        }
    }

    /// The likely reason. Asks the brokers, each question bounded by [`PROBE_LIMIT`].
    pub(super) fn likely(
        &self,
        consumer: &BaseConsumer<Group>,
        group: &str,
        topics: &[String],
        (joined, protocol): (bool, GroupProtocol),
    ) -> String {
        let partitions = match partitions(consumer, topics) {
            Ok(partitions) => partitions,
            Err(reason) => return reason,
        };
        if let Some(refused) = self.refused.and_then(in_words) {
            return refused.to_owned();
        }
        let heard = consumer.context().listener.last_error();
        let heard = heard.map(|error| format!(" (the client last said: {error})")).unwrap_or_default();
        let view = look_at(consumer, group);
        let likely = likely(view.as_ref(), joined);
        let doubt = if protocol == GroupProtocol::Consumer && !joined { KIP_848_DOUBT } else { "" };
        format!("the topics have {partitions} partitions: {likely}{doubt}{heard}")
    }
}

fn partitions(consumer: &BaseConsumer<Group>, topics: &[String]) -> Result<usize, String> {
    let mut partitions = 0;
    let (mut unknown, mut forbidden) = (Vec::new(), Vec::new());
    for topic in topics {
        let metadata = consumer
            .fetch_metadata(Some(topic), PROBE_LIMIT)
            .map_err(|error| format!("the brokers do not tell their topics: {error}"))?;
        match metadata.topics().first().map(|told| (told.error().map(Code::from), told.partitions().len())) {
            Some((None, count)) => partitions += count,
            Some((Some(Code::TopicAuthorizationFailed), _)) => forbidden.push(topic.as_str()),
            _ => unknown.push(topic.as_str()),
        }
    }
    if !forbidden.is_empty() {
        return Err(format!("no right to read: {}; grant it with kafka-acls", forbidden.join(", ")));
    }
    if unknown.is_empty() { Ok(partitions) } else { Err(format!("unknown topic: {}", unknown.join(", "))) }
}

/// None where the coordinator is away, or the group is not of the classic kind.
fn look_at(consumer: &BaseConsumer<Group>, group: &str) -> Option<GroupView> {
    let list = consumer.fetch_group_list(Some(group), PROBE_LIMIT).ok()?;
    let told = list.groups().iter().find(|told| told.name() == group)?;
    Some(GroupView { state: told.state().to_owned(), members: told.members().len() })
}

fn likely(view: Option<&GroupView>, joined: bool) -> String {
    match view {
        Some(GroupView { state, .. }) if state == "PreparingRebalance" || state == "CompletingRebalance" => {
            "the group is still rebalancing; it may wait for a member that died, until its session times out"
                .to_owned()
        }
        Some(GroupView { members, .. }) if joined && *members > 1 => {
            format!("the group has {members} members, more than there are partitions to give")
        }
        _ if joined => "the group has that many members already".to_owned(),
        None => "the group's coordinator does not answer yet; a rebalance may wait for a member that died, \
                 until its session times out"
            .to_owned(),
        Some(_) => "the group has not answered yet; a rebalance may wait for a member that died, until its \
                    session times out"
            .to_owned(),
    }
}

/// The client's last word, in an operator's words where there are any.
pub(super) fn gave_up(code: Code) -> Failure {
    let hint = in_words(code).map(|words| format!(": {words}")).unwrap_or_default();
    match code {
        // Only KIP-848 says so; a classic group puts the newcomer in the former one's place.
        Code::UnreleasedInstanceId => Failure::TurnedAway(format!("{code}{hint}")),
        _ => Failure::ForGood(format!("the client gave up for good: {code}{hint}")),
    }
}

/// Refusals that last until somebody changes something.
fn in_words(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::InconsistentGroupProtocol => {
            "another member of the group speaks another protocol: all must use the same `group-protocol`, \
             and with \"classic\" the assignor cooperative-sticky; stop the other program or use another fleet"
        }
        Code::GroupAuthorizationFailed => "no right to the group; grant READ on it with kafka-acls",
        Code::TopicAuthorizationFailed => "no right to read the topics; grant READ on them with kafka-acls",
        Code::FencedInstanceId => {
            "another live member has the same `instance`: give each host one of its own"
        }
        Code::UnreleasedInstanceId => {
            "another live member has the same `instance`: give each host one of its own; if it was killed, the \
             group notices when its session ends"
        }
        Code::GroupMaxSizeReached => "the group has as many members as the brokers allow (group.max.size)",
        Code::UnsupportedVersion | Code::UnsupportedFeature => {
            "the brokers do not know this group protocol; `group-protocol = \"consumer\"` needs Kafka 4.0"
        }
        Code::InvalidSessionTimeout => {
            "the brokers do not allow this session time-out (group.min.session.timeout.ms, \
             group.max.session.timeout.ms); change `session-timeout`"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(state: &str, members: usize) -> GroupView {
        GroupView { state: state.to_owned(), members }
    }

    #[test]
    fn the_groups_own_state_is_the_reason() {
        assert!(likely(Some(&view("PreparingRebalance", 2)), false).contains("still rebalancing"));
        assert!(likely(Some(&view("Stable", 3)), true).contains("3 members"));
        assert!(likely(None, false).contains("coordinator does not answer"));
        assert!(likely(None, true).contains("members already"), "a group of KIP-848 is not shown to us");
    }

    #[test]
    fn the_newest_refusal_is_kept_and_passing_errors_are_not() {
        let mut reasons = Reasons::default();
        reasons.heard(&ClientError::MessageConsumption(Code::BrokerTransportFailure));
        assert_eq!(reasons.refused, None);
        reasons.heard(&ClientError::MessageConsumption(Code::GroupAuthorizationFailed));
        reasons.heard(&ClientError::MessageConsumption(Code::InconsistentGroupProtocol));
        assert_eq!(reasons.refused, Some(Code::InconsistentGroupProtocol));
    }
}
