//! One field of a cron expression: lists, ranges, steps and names, as a set of numbers.

/// The numbers a field allows, as bits counted from its lowest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    low: u16,
    bits: [u64; 4],
}

/// What a field may hold.
pub(crate) struct Kind {
    pub(crate) low: u16,
    pub(crate) high: u16,
    /// Names of the numbers from `low` on.
    pub(crate) names: &'static [&'static str],
}

pub(crate) const MINUTES: Kind = Kind { low: 0, high: 59, names: &[] };
pub(crate) const HOURS: Kind = Kind { low: 0, high: 23, names: &[] };
pub(crate) const DAYS_OF_MONTH: Kind = Kind { low: 1, high: 31, names: &[] };
pub(crate) const MONTHS: Kind = Kind {
    low: 1,
    high: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
pub(crate) const DAYS_OF_WEEK: Kind =
    Kind { low: 1, high: 7, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] };
pub(crate) const YEARS: Kind = Kind { low: 1970, high: 2199, names: &[] };

impl Kind {
    /// Parses a list of values, ranges and steps.
    pub(crate) fn parse(&self, text: &str) -> Option<Field> {
        let mut field = Field { low: self.low, bits: [0; 4] };
        for item in text.split(',') {
            let (range, step) = match item.split_once('/') {
                Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0)?)),
                None => (item, None),
            };
            let (first, last) = self.range(range, step.is_some())?;
            let count = self.high - self.low + 1;
            let wrapped = if first <= last { last } else { last + count };
            for value in (first..=wrapped).step_by(usize::from(step.unwrap_or(1))) {
                field.set(if value <= self.high { value } else { value - count });
            }
        }
        Some(field)
    }

    /// A number or a name of this field.
    pub(crate) fn value(&self, text: &str) -> Option<u16> {
        let named = (self.low..).zip(self.names).find(|(_, name)| name.eq_ignore_ascii_case(text));
        let value = named.map(|(value, _)| value).or_else(|| number(text))?;
        (self.low..=self.high).contains(&value).then_some(value)
    }

    /// The first and last number of `*`, `a-b`, `a`, or `a` with a step, which goes on to the field's end. A range may go
    /// on past the field's end, as in the guide's `20-2` for hours; years do not come round.
    fn range(&self, text: &str, stepped: bool) -> Option<(u16, u16)> {
        if text == "*" {
            return Some((self.low, self.high));
        }
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (self.value(first)?, self.value(last)?);
            return (first <= last || self.low != YEARS.low).then_some((first, last));
        }
        let value = self.value(text)?;
        Some((value, if stepped { self.high } else { value }))
    }
}

impl Field {
    pub(crate) fn contains(&self, value: u16) -> bool {
        let at = usize::from(value.wrapping_sub(self.low));
        self.bits.get(at / 64).is_some_and(|bits| bits >> (at % 64) & 1 == 1)
    }

    /// The first allowed number from `from` to `high`.
    pub(crate) fn first(&self, from: u16, high: u16) -> Option<u16> {
        (from.max(self.low)..=high).find(|value| self.contains(*value))
    }

    fn set(&mut self, value: u16) {
        let at = usize::from(value - self.low);
        if let Some(bits) = self.bits.get_mut(at / 64) {
            *bits |= 1 << (at % 64);
        }
    }
}

fn number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
