//! Reads the counters and gauges that the room keeps: the whole test program has one recorder.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// By name and labels. A gauge's is the bits of its number.
type Values = Mutex<BTreeMap<String, Arc<AtomicU64>>>;

#[derive(Default)]
struct Meters {
    counters: Values,
    gauges: Values,
}

/// The process's recorder.
struct Reader(Arc<Meters>);

impl Recorder for Reader {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(value_of(&self.0.counters, key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(value_of(&self.0.gauges, key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn value_of(values: &Values, key: &Key) -> Arc<AtomicU64> {
    let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
    let name = format!("{}{}", key.name(), labels.collect::<String>());
    values.lock().unwrap().entry(name).or_default().clone()
}

fn meters() -> &'static Meters {
    static METERS: OnceLock<Arc<Meters>> = OnceLock::new();
    METERS.get_or_init(|| {
        let meters = Arc::new(Meters::default());
        metrics::set_global_recorder(Reader(meters.clone())).map_err(|_| "a second recorder").unwrap();
        meters
    })
}

/// Counting begins here: to be called before what is to be counted.
pub fn install() {
    let _meters = meters();
}

/// What stands under this name with all of these labels, each as `key=value`.
fn found(values: &Values, name: &str, labels: &[&str]) -> Vec<u64> {
    let values = values.lock().unwrap();
    let wanted = values.iter().filter(|(key, _)| {
        let mut words = key.split(' ');
        words.next() == Some(name) && labels.iter().all(|label| key.split(' ').any(|word| word == *label))
    });
    wanted.map(|(_, value)| value.load(Ordering::Relaxed)).collect()
}

/// The sum of all counters with this name and all of these labels, each as `key=value`.
pub fn count(name: &str, labels: &[&str]) -> u64 {
    found(&meters().counters, name, labels).iter().sum()
}

/// The gauge with this name and all of these labels, if there is exactly one.
pub fn gauge(name: &str, labels: &[&str]) -> Option<f64> {
    match found(&meters().gauges, name, labels).as_slice() {
        [bits] => Some(f64::from_bits(*bits)),
        _ => None,
    }
}
