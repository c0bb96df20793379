//! Reads the counters that the room keeps: the whole test program has one recorder.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

type Counts = Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>;

struct Counters(Counts);

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let count = self.0.lock().unwrap().entry(name_of(key)).or_default().clone();
        Counter::from_arc(count)
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn name_of(key: &Key) -> String {
    let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
    format!("{}{}", key.name(), labels.collect::<String>())
}

fn counts() -> &'static Counts {
    static COUNTS: OnceLock<Counts> = OnceLock::new();
    COUNTS.get_or_init(|| {
        let counts = Counts::default();
        metrics::set_global_recorder(Counters(counts.clone())).map_err(|_| "a second recorder").unwrap();
        counts
    })
}

/// Counting begins here: to be called before what is to be counted.
pub fn install() {
    let _counts = counts();
}

/// The sum of all counters with this name and all of these labels, each as `key=value`.
pub fn count(name: &str, labels: &[&str]) -> u64 {
    let counts = counts().lock().unwrap();
    let wanted = counts.iter().filter(|(key, _)| {
        let mut words = key.split(' ');
        words.next() == Some(name) && labels.iter().all(|label| key.split(' ').any(|word| word == *label))
    });
    wanted.map(|(_, count)| count.load(Ordering::Relaxed)).sum()
}
