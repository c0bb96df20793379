//! What may be a name. Names become parts of consumer groups, topics, file names and metrics,
//! so the rule is the narrowest of theirs: that of a DNS label.

use crate::bounds;

/// The longest name of a handler, a fleet or a grant.
pub const NAME_CHARACTERS_MAX: usize = 63;

/// The longest name that Kafka gives a topic.
const TOPIC_CHARACTERS_MAX: usize = 249;

/// What is wrong with a name, if anything is.
#[must_use]
pub fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a name cannot be empty".to_owned());
    }
    if name.len() > NAME_CHARACTERS_MAX {
        return Some(format!(
            "a name has at most {NAME_CHARACTERS_MAX} characters, this one has {}",
            name.len()
        ));
    }
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.chars().all(legal) || name.starts_with('-') || name.ends_with('-') {
        return Some(format!("{name:?} is not a name: lower-case letters, digits, and hyphens between them"));
    }
    None
}

/// What is wrong with a topic's name, if anything is. The rule is Kafka's own.
#[must_use]
pub fn topic_problem(topic: &str) -> Option<String> {
    if topic.is_empty() || topic == "." || topic == ".." {
        return Some(format!("{topic:?} is not a topic"));
    }
    if topic.len() > TOPIC_CHARACTERS_MAX {
        return Some(format!(
            "a topic has at most {TOPIC_CHARACTERS_MAX} characters, this one has {}",
            topic.len()
        ));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (!topic.chars().all(legal))
        .then(|| format!("{topic:?} is not a topic: letters, digits, dots, underscores and hyphens"))
}

/// What is wrong with the name of a value of the configuration, if anything is.
pub(crate) fn config_name_problem(name: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > NAME_CHARACTERS_MAX || !name.chars().all(legal) {
        return Some(format!(
            "{name:?} is not a name of a value: letters, digits, dots, underscores and hyphens, \
             {NAME_CHARACTERS_MAX} at most"
        ));
    }
    None
}

/// What is wrong with a value of the configuration, if anything is.
#[must_use]
pub fn config_value_problem(value: &str) -> Option<String> {
    let (bytes, most) = (value.len(), bounds::CONFIG_VALUE_BYTES_MAX);
    (bytes > most).then(|| format!("the value has {bytes} bytes, {most} are allowed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "accounting", "task-exchange-2", "0", &"x".repeat(63)] {
            assert_eq!(name_problem(good), None, "{good:?}");
        }
        for bad in ["", "-a", "a-", "Accounting", "a.b", "a_b", "a b", "ä", &"x".repeat(64)] {
            assert!(name_problem(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn topics_are_kafkas() {
        for good in ["a", "Task.Lifecycle_2-x", "_keylane", &"x".repeat(249)] {
            assert_eq!(topic_problem(good), None, "{good:?}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "a,b", "ä", "^all.*", &"x".repeat(250)] {
            assert!(topic_problem(bad).is_some(), "{bad:?}");
        }
    }
}
