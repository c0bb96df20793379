//! Kafka's own command line tools, on any broker.

use std::collections::BTreeSet;

use keylane_test_support::kafka_tool;
use rdkafka::Offset;

use super::{Check, Needs};
use crate::clients::{Incoming, new_topic, read, reader};
use crate::raw::Raw;
use crate::{Observed, Target};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "kafkas_own_tools",
        needs: Needs::KafkaTools,
        expected: &[
            "create: Created topic by-tools.",
            "list: by-tools",
            r#"@0 key="worker-1" value="{\"n\":1}" headers=[ce_type="task.assigned",empty=""]"#,
            r#"@1 key="worker-2" value="{\"n\":2}" headers=[ce_type="task.completed"]"#,
            "offsets: by-tools:0:2",
            "consumed: worker-1 {\"n\":1}",
            "consumed: worker-2 {\"n\":2}",
            "groups: by-tools-group",
            "lag: by-tools-group by-tools 0 1 2 1",
            "delete: 0",
        ],
        run: tools,
    },
    Check {
        name: "kafkas_own_tools_change_things",
        needs: Needs::KafkaTools,
        expected: &[
            "described: PartitionCount: 3, max.message.bytes=2000: true",
            "configs: max.message.bytes=2000",
            "configs: retention.ms=600000",
            "consumed: 1 2 3 4 5",
            "deleted records: low_watermark: 3",
            "offsets: by-tools-2:0:3, by-tools-2:1:0, by-tools-2:2:0",
            "group: by-tools-2 0 5 5 0",
            "reset: by-tools-2 0 3",
            "group: by-tools-2 0 3 5 2",
            "deleted group: true",
        ],
        run: change,
    },
    Check {
        name: "kafkas_own_client_in_transactions",
        needs: Needs::KafkaTools,
        expected: &[
            "aborted before: 0",
            "sent in transactions: 300 records",
            "committed: 300 lines, 300 different, the aborted one: false",
            "uncommitted, the aborted one: true",
        ],
        run: transact,
    },
];

fn tools(target: &Target) -> anyhow::Result<Observed> {
    let tool = |name: &str, args: &[&str], stdin: Option<&[u8]>| {
        kafka_tool(&target.bootstrap, name, args, stdin)?.expect_ok()
    };
    let created = tool("kafka-topics", &["--create", "--topic", "by-tools", "--partitions", "1"], None)?;
    let listed = tool("kafka-topics", &["--list", "--exclude-internal"], None)?;
    let mut seen = vec![format!("create: {}", created.trim())];
    seen.extend(listed.lines().filter(|l| *l == "by-tools").map(|l| format!("list: {l}")));
    let lines =
        b"ce_type:task.assigned,empty:\tworker-1\t{\"n\":1}\nce_type:task.completed\tworker-2\t{\"n\":2}\n";
    let properties = ["--reader-property", "parse.key=true", "--reader-property", "parse.headers=true"];
    tool("kafka-console-producer", &[&["--topic", "by-tools"], &properties[..]].concat(), Some(lines))?;
    let records = read(&reader(target, "by-tools", 1, Offset::Beginning, &[])?, 2)?;
    seen.extend(records.iter().map(Incoming::line));
    let offsets = tool("kafka-get-offsets", &["--topic", "by-tools"], None)?;
    seen.push(format!("offsets: {}", offsets.trim()));
    let consume = ["--topic", "by-tools", "--from-beginning", "--max-messages", "2", "--timeout-ms", "30000"];
    let shown = ["--formatter-property", "print.key=true", "--formatter-property", "key.separator= "];
    let consumed = tool("kafka-console-consumer", &[&consume[..], &shown[..]].concat(), None)?;
    seen.extend(consumed.lines().map(|line| format!("consumed: {line}")));
    let mut raw = Raw::connect(target)?;
    raw.commit_from_outside("by-tools-group", "by-tools", 1)?;
    let groups = tool("kafka-consumer-groups", &["--list"], None)?;
    seen.extend(groups.lines().filter(|l| *l == "by-tools-group").map(|l| format!("groups: {l}")));
    let described = tool("kafka-consumer-groups", &["--describe", "--group", "by-tools-group"], None)?;
    let row = described.lines().find(|line| line.starts_with("by-tools-group")).unwrap_or_default();
    let columns: Vec<&str> = row.split_whitespace().take(6).collect();
    seen.push(format!("lag: {}", columns.join(" ")));
    let deleted = tool("kafka-topics", &["--delete", "--topic", "by-tools"], None)?;
    seen.push(format!("delete: {}", deleted.trim().len()));
    Ok(seen)
}

fn change(target: &Target) -> anyhow::Result<Observed> {
    let tool = |name: &str, args: &[&str], stdin: Option<&[u8]>| {
        kafka_tool(&target.bootstrap, name, args, stdin)?.expect_ok()
    };
    let (topic, group) = ("by-tools-2", "by-tools-2-group");
    tool(
        "kafka-topics",
        &["--create", "--topic", topic, "--partitions", "1", "--config", "max.message.bytes=2000"],
        None,
    )?;
    tool("kafka-console-producer", &["--topic", topic], Some(b"1\n2\n3\n4\n5\n"))?;
    tool("kafka-topics", &["--alter", "--topic", topic, "--partitions", "3"], None)?;
    let described = tool("kafka-topics", &["--describe", "--topic", topic], None)?;
    let columns: Vec<&str> = described.lines().next().unwrap_or_default().split('\t').collect();
    let partitions = columns.iter().find(|column| column.starts_with("PartitionCount")).unwrap_or(&"nothing");
    let has_setting = columns.iter().any(|column| column.contains("max.message.bytes=2000"));
    let mut seen = vec![format!("described: {partitions}, max.message.bytes=2000: {has_setting}")];
    let entity = ["--entity-type", "topics", "--entity-name", topic];
    tool(
        "kafka-configs",
        &[&["--alter", "--add-config", "retention.ms=600000"], &entity[..]].concat(),
        None,
    )?;
    let configs = tool("kafka-configs", &[&["--describe"], &entity[..]].concat(), None)?;
    let mut configs: Vec<&str> =
        configs.lines().skip(1).filter_map(|l| l.split_whitespace().next()).collect();
    configs.sort_unstable();
    seen.extend(configs.iter().map(|setting| format!("configs: {setting}")));
    let consume = ["--topic", topic, "--from-beginning", "--max-messages", "5", "--timeout-ms", "30000"];
    let consumed = tool("kafka-console-consumer", &[&consume[..], &["--group", group]].concat(), None)?;
    seen.push(format!("consumed: {}", consumed.split_whitespace().collect::<Vec<_>>().join(" ")));
    seen.extend(delete_and_reset(&tool, topic, group)?);
    let deleted = tool("kafka-consumer-groups", &["--delete", "--group", group], None)?;
    seen.push(format!("deleted group: {}", deleted.contains("was successful")));
    Ok(seen)
}

fn transact(target: &Target) -> anyhow::Result<Observed> {
    let tool = |name: &str, args: &[&str]| kafka_tool(&target.bootstrap, name, args, None)?.expect_ok();
    let topic = "txn-by-tools";
    new_topic(target, topic, 1)?;
    let mut raw = Raw::connect(target)?;
    let txn = raw.begin(topic)?;
    raw.add(&txn, &[(topic, 0)])?;
    raw.produce_in(topic, topic, txn.batch(&["aborted"], 0)?)?;
    let mut seen = vec![format!("aborted before: {}", raw.end(&txn, false)?)];
    let records = ["--topic", topic, "--num-records", "300", "--payload-monotonic", "--throughput", "600"];
    let transactions = ["--transactional-id", "by-java", "--transaction-duration-ms", "100"];
    let sent = tool("kafka-producer-perf-test", &[&records[..], &transactions].concat())?;
    let sent = sent.lines().rfind(|line| line.contains("records sent")).unwrap_or_default();
    let count = sent.split_whitespace().next().unwrap_or_default();
    seen.push(format!("sent in transactions: {count} records"));
    let consume = |isolation, count| -> anyhow::Result<Vec<String>> {
        let all = ["--topic", topic, "--from-beginning", "--timeout-ms", "30000"];
        let wanted = ["--isolation-level", isolation, "--max-messages", count];
        let consumed = tool("kafka-console-consumer", &[&all[..], &wanted].concat())?;
        Ok(consumed.lines().map(ToOwned::to_owned).collect())
    };
    let committed = consume("read_committed", "300")?;
    let different: BTreeSet<&String> = committed.iter().collect();
    let (lines, has_aborted) = (committed.len(), committed.iter().any(|line| line == "aborted"));
    let different = different.len();
    seen.push(format!("committed: {lines} lines, {different} different, the aborted one: {has_aborted}"));
    let any = consume("read_uncommitted", "1")?;
    seen.push(format!("uncommitted, the aborted one: {}", any.iter().any(|line| line == "aborted")));
    Ok(seen)
}

type Tool<'a> = &'a dyn Fn(&str, &[&str], Option<&[u8]>) -> anyhow::Result<String>;

fn delete_and_reset(tool: Tool<'_>, topic: &str, group: &str) -> anyhow::Result<Observed> {
    let wanted = format!(r#"{{"partitions":[{{"topic":"{topic}","partition":0,"offset":3}}],"version":1}}"#);
    let deleted =
        tool("kafka-delete-records", &["--offset-json-file", "/dev/stdin"], Some(wanted.as_bytes()))?;
    let watermark = deleted.split_once("low_watermark").map_or("nothing", |(_, rest)| rest.trim());
    let mut seen = vec![format!("deleted records: low_watermark{watermark}")];
    let offsets = tool("kafka-get-offsets", &["--topic", topic, "--time", "earliest"], None)?;
    seen.push(format!("offsets: {}", offsets.lines().collect::<Vec<_>>().join(", ")));
    let describe = || -> anyhow::Result<String> {
        let described = tool("kafka-consumer-groups", &["--describe", "--group", group], None)?;
        let row = described.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row =
            row.filter(|columns| columns.get(2) == Some(&"0")).find_map(|c| c.get(1..6).map(|c| c.join(" ")));
        Ok(format!("group: {}", row.unwrap_or_default()))
    };
    seen.push(describe()?);
    let target = ["--group", group, "--topic", &format!("{topic}:0")];
    let to = ["--reset-offsets", "--to-earliest", "--execute"];
    let reset = tool("kafka-consumer-groups", &[&target[..], &to].concat(), None)?;
    let row = reset.lines().find(|line| line.starts_with(group)).unwrap_or_default();
    seen.push(format!("reset: {}", row.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")));
    seen.push(describe()?);
    Ok(seen)
}
