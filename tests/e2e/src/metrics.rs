//! What a host's `/metrics` tells, in Prometheus' text form.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// One answer of `/metrics`.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    kinds: BTreeMap<String, String>,
    helps: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Reads an answer.
    ///
    /// # Errors
    /// When a line is neither a remark nor a sample.
    pub fn read(text: &str) -> Result<Self> {
        let mut metrics = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let remark = |start| line.strip_prefix(start).and_then(|rest: &str| rest.split_once(' '));
            if let Some((name, kind)) = remark("# TYPE ") {
                metrics.kinds.insert(name.to_owned(), kind.to_owned());
            } else if let Some((name, help)) = remark("# HELP ") {
                metrics.helps.insert(name.to_owned(), help.to_owned());
            } else {
                metrics.samples.push(sample(line).with_context(|| format!("no sample: {line}"))?);
            }
        }
        Ok(metrics)
    }

    /// Each metric by name, with its kind and what is said of it: `name kind help`.
    #[must_use]
    pub fn names(&self) -> BTreeMap<&str, String> {
        let said = |name: &String| self.helps.get(name).map(|help| format!(" {help}")).unwrap_or_default();
        self.kinds
            .iter()
            .map(|(name, kind)| (name.as_str(), format!("{name} {kind}{}", said(name))))
            .collect()
    }

    /// The sum of a metric over everything that has these labels, 0 without a sample.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            let wanted = |(label, value): &(&str, &str)| {
                sample.labels.iter().any(|(found, said)| found == label && said == value)
            };
            sample.name == name && labels.iter().all(wanted)
        };
        self.samples.iter().filter(has).map(|sample| sample.value).sum()
    }
}

/// `name value` or `name{label="text",...} value`. No text of a test holds quotation marks.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let label = |label: &str| {
        let (name, text) = label.split_once("=\"")?;
        Some((name.to_owned(), text.trim_end_matches('"').to_owned()))
    };
    let labels = labels.split("\",").filter(|label| !label.is_empty()).map(label).collect::<Option<_>>()?;
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_and_samples_are_read() {
        let text = "# HELP runs how many\n# TYPE runs gauge\nruns{handler=\"a\",topic=\"t,u\"} 2\nruns{handler=\"b\"} 3\n\n\
                    # TYPE held gauge\nheld 1.5\n";
        let metrics = Metrics::read(text).unwrap();
        assert_eq!(metrics.names()["runs"], "runs gauge how many");
        assert_eq!(metrics.names()["held"], "held gauge");
        assert_eq!((metrics.sum("runs", &[]), metrics.sum("held", &[])), (5.0, 1.5));
        assert_eq!(metrics.sum("runs", &[("topic", "t,u")]), 2.0);
        assert_eq!(metrics.sum("runs", &[("topic", "t")]), 0.0);
        assert!(Metrics::read("what is this").is_err());
    }
}
