//! The topic settings that can be given and described, with Kafka's names.
//!
//! Most are kept and shown but change nothing here, because nothing is ever deleted or compacted;
//! they are taken so that scripts written for Kafka run. Unknown names are refused, as Kafka does.

use std::collections::BTreeMap;

/// Which values a setting takes.
enum Takes {
    /// A whole number, at least this.
    Number(i64),
    /// A fraction between 0 and 1.
    Fraction,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One or more of these words, with commas between.
    Words(&'static [&'static str]),
}

struct Setting {
    name: &'static str,
    /// What holds when it is not given.
    default: &'static str,
    takes: Takes,
}

const MESSAGE_BYTES: &str = "max.message.bytes";
const CLEANUP: &str = "cleanup.policy";

const SETTINGS: &[Setting] = &[
    setting(CLEANUP, "delete", Takes::Words(&["delete", "compact"])),
    setting("compression.type", "producer", Takes::Word(&["producer"])),
    setting("delete.retention.ms", "86400000", Takes::Number(0)),
    setting("flush.messages", "9223372036854775807", Takes::Number(1)),
    setting("flush.ms", "9223372036854775807", Takes::Number(0)),
    setting("max.compaction.lag.ms", "9223372036854775807", Takes::Number(1)),
    setting(MESSAGE_BYTES, "1048588", Takes::Number(0)),
    setting("message.timestamp.type", "CreateTime", Takes::Word(&["CreateTime"])),
    setting("min.cleanable.dirty.ratio", "0.5", Takes::Fraction),
    setting("min.compaction.lag.ms", "0", Takes::Number(0)),
    setting("min.insync.replicas", "1", Takes::Number(1)),
    setting("retention.bytes", "-1", Takes::Number(-1)),
    setting("retention.ms", "-1", Takes::Number(-1)),
    setting("segment.bytes", "1073741824", Takes::Number(14)),
    setting("segment.ms", "604800000", Takes::Number(1)),
    setting("unclean.leader.election.enable", "false", Takes::Word(&["true", "false"])),
];

const fn setting(name: &'static str, default: &'static str, takes: Takes) -> Setting {
    Setting { name, default, takes }
}

/// The settings given to one topic; all others have their defaults.
#[derive(Debug, Clone, Default)]
pub(crate) struct TopicConfig(BTreeMap<String, String>);

/// One setting as it is described to a client.
pub(crate) struct Shown<'a> {
    pub(crate) name: &'static str,
    pub(crate) value: &'a str,
    pub(crate) is_default: bool,
}

impl TopicConfig {
    /// Checks what a client gives. The error is a sentence for the client.
    pub(crate) fn new(given: impl IntoIterator<Item = (String, String)>) -> Result<Self, String> {
        let mut config = BTreeMap::new();
        for (name, value) in given {
            check(&name, &value)?;
            config.insert(name, value);
        }
        Ok(Self(config))
    }

    /// The same with one setting given anew, or with its default again where there is no value.
    pub(crate) fn with(mut self, name: &str, value: Option<&str>) -> Result<Self, String> {
        match value {
            Some(value) => {
                check(name, value)?;
                self.0.insert(name.to_owned(), value.to_owned());
            }
            None => {
                find(name)?;
                self.0.remove(name);
            }
        }
        Ok(self)
    }

    /// What an earlier run stored, taken as it is.
    pub(crate) fn restored(config: BTreeMap<String, String>) -> Self {
        Self(config)
    }

    /// The settings that were given.
    pub(crate) fn given(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Whether records may be deleted: not from a topic that is only compacted.
    pub(crate) fn deletes(&self) -> bool {
        self.0.get(CLEANUP).is_none_or(|policy| policy.split(',').any(|word| word.trim() == "delete"))
    }

    /// The largest batch in bytes, if the topic sets it.
    pub(crate) fn message_bytes(&self) -> Option<usize> {
        self.0.get(MESSAGE_BYTES)?.parse().ok()
    }

    /// Every setting with the value that holds.
    pub(crate) fn shown(&self) -> impl Iterator<Item = Shown<'_>> {
        SETTINGS.iter().map(|s| match self.0.get(s.name) {
            Some(value) => Shown { name: s.name, value, is_default: false },
            None => Shown { name: s.name, value: s.default, is_default: true },
        })
    }
}

fn find(name: &str) -> Result<&'static Setting, String> {
    SETTINGS.iter().find(|s| s.name == name).ok_or_else(|| format!("Unknown topic config name: {name}"))
}

fn check(name: &str, value: &str) -> Result<(), String> {
    if find(name)?.takes.accepts(value) {
        Ok(())
    } else {
        Err(format!("Invalid value {value} for configuration {name}"))
    }
}

impl Takes {
    fn accepts(&self, value: &str) -> bool {
        match self {
            Self::Number(least) => value.parse::<i64>().is_ok_and(|n| n >= *least),
            Self::Fraction => value.parse::<f64>().is_ok_and(|n| (0.0..=1.0).contains(&n)),
            Self::Word(words) => words.contains(&value),
            Self::Words(words) => value.split(',').all(|word| words.contains(&word.trim())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: &str, value: &str) -> Result<TopicConfig, String> {
        TopicConfig::new([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_setting_is_given_anew_and_taken_back() {
        let compacted = given("cleanup.policy", "compact").unwrap();
        assert!(!compacted.deletes());
        let set = compacted.with("max.message.bytes", Some("5")).unwrap();
        assert_eq!(set.message_bytes(), Some(5));
        let both = set.clone().with("cleanup.policy", Some("compact, delete")).unwrap();
        assert!(both.deletes() && set.with("cleanup.policy", None).unwrap().deletes());
        assert!(both.clone().with("retention.ms", Some("soon")).is_err());
        assert!(both.with("no.such", None).unwrap_err().contains("no.such"));
    }

    #[test]
    fn known_settings_are_kept_and_others_refused() {
        assert_eq!(given("max.message.bytes", "2000").unwrap().message_bytes(), Some(2000));
        assert!(given("cleanup.policy", "compact,delete").is_ok());
        assert!(given("retention.ms", "soon").unwrap_err().contains("retention.ms"));
        assert!(given("retention.millis", "1").unwrap_err().contains("retention.millis"));
        assert!(given("message.timestamp.type", "LogAppendTime").is_err());
    }
}
