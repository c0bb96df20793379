//! Shows how far the demo is while it runs: a bar on a terminal, a line every few seconds elsewhere.
//! Both go to standard error, so that standard output holds the report only.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::exchange::DAYS;
use super::gauges::{Gauges, Speed, ended};
use crate::print::grouped;

/// How often the gauges are read.
const READ_EVERY: Duration = Duration::from_millis(100);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far the demo is.
pub(super) struct Progress {
    /// None where there is no terminal.
    bar: Option<ProgressBar>,
    /// How many events will have ended.
    all: u64,
    start: Instant,
    next_line: Instant,
    speed: Speed,
}

impl Progress {
    /// Begins at nothing, towards so many events.
    pub(super) fn new(all: u64) -> Self {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(all).with_style(style()));
        Self { bar, all, start: now, next_line: now + LINE_EVERY, speed: Speed::default() }
    }

    /// Shows what the gauges say, until it is dropped.
    pub(super) async fn watch(&mut self, gauges: &impl Gauges, day: &AtomicUsize) {
        loop {
            self.show(gauges, day.load(Ordering::Relaxed));
            tokio::time::sleep(READ_EVERY).await;
        }
    }

    fn show(&mut self, gauges: &impl Gauges, day: usize) {
        let (now, ended) = (Instant::now(), ended(&gauges.tallies()));
        let speed = grouped(self.speed.read(now, ended));
        let lag = gauges.lag().map_or_else(|| "-".to_owned(), grouped);
        if let Some(bar) = &self.bar {
            bar.set_position(ended.min(self.all));
            bar.set_prefix(format!("day {day} of {}", DAYS.len()));
            bar.set_message(format!("{speed}/s  lag {lag}"));
        } else if now >= self.next_line {
            self.next_line = now + LINE_EVERY;
            let (elapsed, days) = (self.start.elapsed().as_secs(), DAYS.len());
            let (ended, all) = (grouped(ended), grouped(self.all));
            // Whoever closed standard error does not want to know.
            let _unread = writeln!(
                std::io::stderr().lock(),
                "{elapsed:>5} s  day {day} of {days}  {ended} of {all} events ended  {speed}/s  lag {lag}"
            );
        }
    }

    /// Takes the bar away. Answers the time since the beginning.
    pub(super) fn finish(self) -> Duration {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.start.elapsed()
    }
}

/// Fits into 80 columns.
const TEMPLATE: &str = "  {prefix}  {bar:20.green/dim} {human_pos}/{human_len} events  {msg}";

fn style() -> ProgressStyle {
    ProgressStyle::with_template(TEMPLATE)
        .map(|style| style.progress_chars("━━─"))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_drawn_as_it_is_written() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
