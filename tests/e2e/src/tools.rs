//! Apache Kafka's own tools as the tests' client: nothing of ours has touched what they write or read.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::broker::{Broker, Position, Record, Stored, Subscription, Writer};
use crate::place;
use crate::plain::PlainClient;

/// Stands for a missing key, value or set of headers in what the tools read and write.
const NONE: &str = "(none)";
/// Between the fields, the headers and the records that the console consumer prints. No text of a test
/// holds these characters, though values may hold blanks, commas and colons.
const FIELD: char = '\u{1f}';
const HEADER: char = '\u{1e}';
const RECORD: char = '\u{1d}';
/// What the console consumer prints for a record without headers.
const NO_HEADERS: &str = "NO_HEADERS";
/// How long the console consumer waits for the next record.
const SILENCE_LIMIT_MS: &str = "30000";

/// The tools, and the broker they speak to.
pub struct KafkaTools {
    bootstrap: String,
}

impl KafkaTools {
    /// For this broker, `host:port`.
    #[must_use]
    pub fn new(bootstrap: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned() }
    }

    fn command(&self, tool: &str, arguments: &[&str]) -> Command {
        let script: PathBuf = place::repository().join("tests/kafka/kafka.sh");
        let mut command = Command::new(script);
        command.args(["tool", tool, "--bootstrap-server", &self.bootstrap]).args(arguments);
        command
    }

    /// What a tool prints.
    fn answer(&self, tool: &str, arguments: &[&str]) -> Result<String> {
        let output = self.command(tool, arguments).stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{tool} {arguments:?} ended with {}: {said}", output.status);
        String::from_utf8(output.stdout)
            .with_context(|| format!("{tool} printed something that is not UTF-8"))
    }
}

impl Broker for KafkaTools {
    fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// One JVM for each topic, all at once.
    fn create_topics(&self, topics: &[&str], partitions: i32) -> Result<()> {
        let partitions = partitions.to_string();
        let create = |topic: &str| {
            self.answer("kafka-topics", &["--create", "--topic", topic, "--partitions", &partitions])
        };
        let create = &create;
        std::thread::scope(|scope| {
            let running: Vec<_> = topics.iter().map(|topic| scope.spawn(move || create(topic))).collect();
            running.into_iter().try_for_each(|tool| match tool.join() {
                Ok(created) => created.map(drop),
                Err(_) => bail!("a thread that made a topic panicked"),
            })
        })
    }

    fn writer(&self, topic: &str) -> Result<Box<dyn Writer>> {
        let marker = format!("null.marker={NONE}");
        let mut child = self
            .command("kafka-console-producer", &["--topic", topic, "--timeout", "5"])
            .args(["--request-timeout-ms", "30000", "--message-send-max-retries", "100"])
            .args(["--reader-property", "parse.key=true", "--reader-property", "parse.headers=true"])
            .args(["--reader-property", &marker])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("kafka-console-producer cannot be started")?;
        let input = child.stdin.take().context("kafka-console-producer has no input")?;
        Ok(Box::new(ConsoleProducer { child, input }))
    }

    /// The console consumer does not see an end, and ends of partitions count markers of transactions too:
    /// a plain client counts the records before it, and has to agree with it then.
    fn read(&self, topic: &str) -> Result<Vec<Stored>> {
        let records = PlainClient::new(&self.bootstrap).read(topic)?.len();
        if records == 0 {
            return Ok(Vec::new());
        }
        let (max, none) = (records.to_string(), format!("null.literal={NONE}"));
        let separators = [
            format!("key.separator={FIELD}"),
            format!("headers.separator={HEADER}"),
            format!("line.separator={RECORD}"),
        ];
        let mut arguments = vec!["--topic", topic, "--from-beginning", "--max-messages", &max];
        arguments.extend(["--timeout-ms", SILENCE_LIMIT_MS, "--isolation-level", "read_committed"]);
        let fields = ["print.partition=true", "print.offset=true", "print.headers=true", "print.key=true"];
        for property in fields.into_iter().chain(separators.iter().map(String::as_str)).chain([none.as_str()])
        {
            arguments.extend(["--formatter-property", property]);
        }
        let printed = self.answer("kafka-console-consumer", &arguments)?;
        let stored = printed.split_terminator(RECORD).map(stored).collect::<Result<Vec<_>>>()?;
        ensure!(stored.len() == records, "{topic}: {} records read, not {records}", stored.len());
        Ok(stored)
    }

    fn positions(&self, subscriptions: &[Subscription]) -> Result<Vec<Position>> {
        let printed = self.answer("kafka-consumer-groups", &["--describe", "--all-groups"])?;
        let positions: Vec<Position> = printed.lines().filter_map(position).collect();
        let wanted = |position: &Position| {
            subscriptions.iter().any(|subscription| {
                subscription.group == position.group && subscription.topics.contains(&position.topic)
            })
        };
        Ok(positions.into_iter().filter(wanted).collect())
    }
}

/// One record as the console consumer prints it.
fn stored(printed: &str) -> Result<Stored> {
    let mut fields = printed.split(FIELD);
    let mut field = || fields.next().with_context(|| format!("the console consumer printed {printed:?}"));
    let partition = field()?.trim_start_matches("Partition:").parse()?;
    let offset = field()?.trim_start_matches("Offset:").parse()?;
    let headers = match field()? {
        NO_HEADERS => Vec::new(),
        headers => headers.split(HEADER).map(header).collect::<Result<_>>()?,
    };
    let present = |text: &str| (text != NONE).then(|| text.to_owned());
    let (key, value) = (present(field()?), present(field()?));
    Ok(Stored { partition, offset, record: Record { key, value, headers } })
}

fn header(printed: &str) -> Result<(String, String)> {
    let (name, value) = printed.split_once(':').with_context(|| format!("header {printed:?}"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// One line of `kafka-consumer-groups`: group, topic, partition, committed, end, and more. Headings and
/// remarks are none.
fn position(line: &str) -> Option<Position> {
    let mut words = line.split_whitespace();
    let mut word = || words.next();
    Some(Position {
        group: word()?.to_owned(),
        topic: word()?.to_owned(),
        partition: word()?.parse().ok()?,
        committed: word()?.parse().ok(),
        end: word()?.parse().ok()?,
    })
}

/// Kafka's console producer, waiting for lines: it is warm when the moment comes.
struct ConsoleProducer {
    child: Child,
    input: ChildStdin,
}

impl Writer for ConsoleProducer {
    fn write(&mut self, records: &[Record]) -> Result<()> {
        let lines = records.iter().map(line).collect::<Result<String>>()?;
        self.input.write_all(lines.as_bytes())?;
        Ok(self.input.flush()?)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let ConsoleProducer { mut child, input } = *self;
        drop(input);
        let status = child.wait()?;
        ensure!(status.success(), "kafka-console-producer ended with {status}");
        Ok(())
    }
}

/// One record as the console producer reads it: `name:value,name:value`, key and value, with tabs between.
fn line(record: &Record) -> Result<String> {
    let mut headers = String::new();
    for (name, value) in &record.headers {
        ensure!(
            !value.contains([',', '\t', '\n']),
            "the console producer cannot write the header {name}: {value}"
        );
        write!(headers, "{}{name}:{value}", if headers.is_empty() { "" } else { "," })?;
    }
    let headers = if headers.is_empty() { NONE } else { &headers };
    let (key, value) = (record.key.as_deref().unwrap_or(NONE), record.value.as_deref().unwrap_or(NONE));
    ensure!(!format!("{key}{value}").contains(['\t', '\n']), "the console producer cannot write {record:?}");
    Ok(format!("{headers}\t{key}\t{value}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tools_print_is_read() {
        let printed = "Partition:3\u{1f}Offset:12\u{1f}a:b:c\u{1e}d:\u{1f}(none)\u{1f}{\"x\": 1, \"y\"}";
        let read = stored(printed).unwrap();
        assert_eq!((read.partition, read.offset, read.record.key), (3, 12, None));
        assert_eq!(read.record.headers, [("a".into(), "b:c".into()), ("d".into(), String::new())]);
        assert_eq!(read.record.value.as_deref(), Some("{\"x\": 1, \"y\"}"));
        let line = "fleet.email  payouts  2  -  7  -  -  -  -";
        assert_eq!(position(line).map(|position| (position.committed, position.end)), Some((None, 7)));
        assert_eq!(position("GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG"), None);
    }

    #[test]
    fn what_the_console_producer_cannot_write_is_refused() {
        let record = |value: &str| Record { key: None, value: Some(value.into()), headers: Vec::new() };
        assert_eq!(line(&record("{}")).unwrap(), "(none)\t(none)\t{}\n");
        assert!(line(&record("a\tb")).is_err());
    }
}
