//! What tasks are called, so that the report reads like one of a company.

const DOINGS: [&str; 8] = ["Sweep", "Paint", "Mend", "Measure", "Clear", "Inspect", "Oil", "Count"];
const THINGS: [&str; 8] = [
    "the yard",
    "the shed",
    "the roof",
    "the fence",
    "the gutters",
    "the boiler",
    "the lift",
    "the spare keys",
];

/// The title of a task: its id decides.
pub(super) fn title(task: &str) -> String {
    let number: usize = task
        .bytes()
        .filter(u8::is_ascii_digit)
        .fold(0, |number, digit| number.wrapping_mul(10).wrapping_add(usize::from(digit - b'0')));
    let doing = DOINGS.get(number % DOINGS.len()).unwrap_or(&"Do");
    let thing = THINGS.get(number / DOINGS.len() % THINGS.len()).unwrap_or(&"it");
    format!("{doing} {thing}")
}
