//! A dead letter is written for an event whose attempts are used up, or that nobody may handle, and for
//! nothing else; one at a time; and it tells the attempts that were made.

use std::collections::BTreeSet;

use keylane_engine::{FailureClass, Untyped};
use keylane_lanes::Then;

use super::charges::{Ledger, Tried};
use crate::log::Kind;
use crate::story::{Breach, Story};
use crate::trace::{How, Note, Place};

pub fn check(story: &Story) -> Result<(), Breach> {
    let mut ledger = Ledger::default();
    let mut out: BTreeSet<Tried> = BTreeSet::new();
    let mut ended: BTreeSet<Tried> = BTreeSet::new();
    for (at, entry) in story.walk() {
        match &entry.note {
            Note::LetterAsked { place, number, offset, attempts, class } => {
                let tried = (*number, *offset);
                if !out.insert(tried) || ended.contains(&tried) {
                    let what =
                        format!("{place}: a letter of {offset} is sent while another is, or after its end");
                    return Breach::at(at, what);
                }
                if let Err(what) = is_due(story, &ledger, *place, tried, *attempts, *class) {
                    return Breach::at(at, format!("{place}: a letter of {offset} is sent: {what}"));
                }
            }
            Note::LetterGone { number, offset, .. } => drop(out.remove(&(*number, *offset))),
            Note::LetterAcked { number, offset, .. } | Note::Ended { number, offset, how: How::Done, .. } => {
                ended.insert((*number, *offset));
            }
            _ => {}
        }
        ledger.take(&story.plan.policy, entry);
    }
    Ok(())
}

fn is_due(
    story: &Story,
    ledger: &Ledger,
    place: Place,
    tried: Tried,
    attempts: u32,
    class: FailureClass,
) -> Result<(), String> {
    let untyped = story.record(place, tried.1).is_some_and(|record| record.kind == Kind::Untyped);
    if untyped && story.plan.untyped == Untyped::DeadLetter {
        let right = attempts == 0 && class == FailureClass::Reject;
        return if right { Ok(()) } else { Err(format!("{attempts} attempts at a condemned event")) };
    }
    if story.plan.policy.then != Then::DeadLetter {
        return Err("the policy wants none".to_owned());
    }
    let Some(failures) = ledger.failures.get(&tried) else {
        return Err("it never failed".to_owned());
    };
    if !failures.used_up {
        return Err("its attempts are not used up".to_owned());
    }
    if (attempts, Some(class)) != (failures.total(), failures.last) {
        return Err(format!("it tells of {attempts} attempts, the last {class:?}; it had {failures:?}"));
    }
    Ok(())
}
