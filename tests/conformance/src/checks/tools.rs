//! Kafka's own command line tools, on any broker.

use keylane_test_support::kafka_tool;
use rdkafka::Offset;

use super::Check;
use crate::clients::{Incoming, read, reader};
use crate::raw::Raw;
use crate::{Observed, Target};

pub(super) const CHECKS: &[Check] = &[Check {
    name: "kafkas_own_tools",
    needs_tools: true,
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
}];

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
    raw.commit("by-tools-group", ("", -1), ("by-tools", 0), 1)?;
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
