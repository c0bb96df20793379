//! The days of the demo. They cross the end of a month and of a week, so that the dearest task of a day,
//! of a week and of a month are different questions.

/// A day of the exchange.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::demo) struct Day {
    /// `YYYY-MM-DD`.
    pub(in crate::demo) date: &'static str,
    /// The week it belongs to, as ISO 8601 counts them: `YYYY-Www`.
    pub(in crate::demo) week: &'static str,
    /// `YYYY-MM`.
    pub(in crate::demo) month: &'static str,
}

/// All days, in order: a Thursday up to a Monday. The exchange works on weekends.
pub(in crate::demo) const DAYS: [Day; 5] = [
    Day { date: "2026-01-29", week: "2026-W05", month: "2026-01" },
    Day { date: "2026-01-30", week: "2026-W05", month: "2026-01" },
    Day { date: "2026-01-31", week: "2026-W05", month: "2026-01" },
    Day { date: "2026-02-01", week: "2026-W05", month: "2026-02" },
    Day { date: "2026-02-02", week: "2026-W06", month: "2026-02" },
];

/// How many of them are closed and paid. The last one has only begun, so that there is something left
/// on the workers' accounts to look at.
pub(in crate::demo) const DAYS_CLOSED: usize = 4;

/// When work begins, in seconds since midnight: at nine.
pub(super) const MORNING_S: u64 = 9 * 3_600;
/// How long a day's work is, in seconds: nine hours.
pub(super) const WORKDAY_S: u64 = 9 * 3_600;
/// How much of the open day is simulated, in seconds.
pub(super) const OPEN_DAY_S: u64 = WORKDAY_S / 5;
/// All of the simulated work, in seconds.
pub(super) const WORK_S: u64 = DAYS_CLOSED as u64 * WORKDAY_S + OPEN_DAY_S;

/// The day of a moment of work, in seconds since the first morning, nights left out.
pub(super) fn day_of(work_s: u64) -> &'static Day {
    let [.., last] = &DAYS;
    DAYS.get((work_s / WORKDAY_S) as usize).unwrap_or(last)
}

/// The same moment as people write it, RFC 3339.
pub(super) fn written(work_s: u64) -> String {
    let s = MORNING_S + work_s % WORKDAY_S;
    format!("{}T{:02}:{:02}:{:02}Z", day_of(work_s).date, s / 3_600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_fall_on_their_days() {
        assert_eq!(written(0), "2026-01-29T09:00:00Z");
        assert_eq!(written(WORKDAY_S - 1), "2026-01-29T17:59:59Z");
        assert_eq!(written(WORKDAY_S), "2026-01-30T09:00:00Z");
        assert_eq!(written(WORK_S - 1), "2026-02-02T10:47:59Z");
        assert_eq!(day_of(WORK_S - 1), &DAYS[DAYS_CLOSED]);
    }
}
