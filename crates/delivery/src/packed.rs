//! Steps of the ledger as they stand in a row: those decided together say the same few things over and over (their
//! trace, their source, the queues of a fan-out), so a row holds each text once and steps name texts by number.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{Fate, Step};

/// Steps that were decided together.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Packed {
    texts: Vec<String>,
    /// Traces, by their texts, in the order of their first steps.
    traces: Vec<u32>,
    /// Milliseconds since 1970 from which the steps count.
    since: i64,
    steps: Vec<Line>,
}

/// One step: when, then texts by number (event, trace, source, target, via, detail), then what happened, which attempt
/// it was and how long that took in microseconds.
type Line = (i64, [u32; 6], Step, u32, u64);

impl Packed {
    pub fn of<'a>(fates: impl Iterator<Item = &'a Fate>) -> Packed {
        let mut row = Packed::default();
        let mut known: HashMap<&str, u32, rustc_hash::FxBuildHasher> = HashMap::default();
        let mut before: [&str; 6] = [""; 6];
        let mut numbers = [0; 6];
        for fate in fates {
            if row.steps.is_empty() {
                row.since = fate.at;
            }
            let texts: [&str; 6] =
                [&fate.event, &fate.trace, &fate.source, &fate.target, &fate.via, &fate.detail];
            for (at, text) in texts.into_iter().enumerate() {
                if text != before[at] || row.steps.is_empty() {
                    numbers[at] = *known.entry(text).or_insert_with(|| {
                        row.texts.push(text.to_string());
                        row.texts.len() as u32 - 1
                    });
                    before[at] = text;
                }
            }
            if !row.traces.contains(&numbers[1]) {
                row.traces.push(numbers[1]);
            }
            row.steps.push((fate.at - row.since, numbers, fate.step, fate.attempt, fate.took_us));
        }
        row
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    pub fn traces(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.traces.iter().map(|number| self.text(*number))
    }

    /// The trace of the first step that tells of an event.
    pub fn trace_of(&self, event: &str) -> Option<String> {
        let number = self.texts.iter().position(|text| text == event)? as u32;
        let line = self.steps.iter().find(|(_, texts, ..)| texts[0] == number)?;
        Some(self.text(line.1[1]).to_string())
    }

    pub fn fates(&self) -> impl Iterator<Item = Fate> {
        self.steps.iter().map(|(at, texts, step, attempt, took_us)| {
            let [event, trace, source, target, via, detail] = texts.map(|text| self.text(text).to_string());
            let (at, step, attempt, took_us) = (self.since + at, *step, *attempt, *took_us);
            Fate { at, event, trace, source, target, via, step, detail, attempt, took_us }
        })
    }

    fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_back_and_texts_stand_once() {
        let step = |at: i64, event: &str, target: &str| Fate {
            at,
            event: event.into(),
            trace: "1-root".into(),
            source: "arn:topic".into(),
            target: target.into(),
            via: String::new(),
            step: Step::Delivered,
            detail: "as told".into(),
            attempt: 1,
            took_us: 7,
        };
        let fates = [step(1_000, "a", "q1"), step(1_002, "a", "q2"), step(999, "b", "q1")];
        let row = Packed::of(fates.iter());
        assert_eq!(row.fates().collect::<Vec<_>>(), fates);
        assert_eq!(row.texts.len(), 8);
        assert_eq!(row.traces().collect::<Vec<_>>(), ["1-root"]);
        assert_eq!((row.trace_of("b").as_deref(), row.trace_of("q1")), (Some("1-root"), None));
    }
}
