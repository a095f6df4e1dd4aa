//! Numbers by value. EventBridge compares JSON numbers between -5.0e9 and 5.0e9 with at most six decimals by their
//! value, so `300`, `300.0` and `3.0e2` are one number (Event Ruler's ComparableNumber). Any other number is only
//! equal to itself: it takes part in no range. Event Ruler compares those by their text; here 1e10 equals 1.0e10 too.

/// What makes two JSON numbers equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    /// A comparable number, in millionths.
    Micros(i64),
    /// An integer outside the comparable range.
    Signed(i64),
    /// An integer above `i64::MAX`.
    Unsigned(u64),
    /// Anything else, as the bits of the nearest double.
    Double(u64),
}

/// The largest comparable magnitude, in millionths: 5.0e9.
pub const LIMIT_MICROS: i64 = 5_000_000_000_000_000;

impl Number {
    /// Reads a JSON number; `None` when `text` is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let parts = Parts::read(text.as_bytes())?;
        if let Some(micros) = parts.micros() {
            return Some(Self::Micros(micros));
        }
        if let Ok(integer) = text.parse::<i64>() {
            return Some(Self::Signed(integer));
        }
        if let Ok(integer) = text.parse::<u64>() {
            return Some(Self::Unsigned(integer));
        }
        text.parse::<f64>().ok().map(|double| Self::Double(double.to_bits()))
    }

    /// The value in millionths, when it is comparable.
    pub fn micros(self) -> Option<i64> {
        match self {
            Self::Micros(micros) => Some(micros),
            _ => None,
        }
    }
}

/// Why a number cannot stand in a numeric comparison; the sentences are Event Ruler's.
pub(crate) fn comparable(text: &str) -> Result<i64, String> {
    if let Some(Number::Micros(micros)) = Number::parse(text) {
        return Ok(micros);
    }
    match text.parse::<f64>() {
        Ok(value) if value.abs() <= 5e9 => Err(format!("Only values upto 6 decimals are supported{text}")),
        _ => Err("Value must be between -5.0E9 and 5.0E9, inclusive".to_owned()),
    }
}

/// A JSON number taken apart: `digits × 10^exponent`, digits without leading zeros.
struct Parts {
    negative: bool,
    digits: u128,
    count: u32,
    exponent: i64,
    too_long: bool,
}

impl Parts {
    fn read(text: &[u8]) -> Option<Self> {
        let mut parts = Self { negative: false, digits: 0, count: 0, exponent: 0, too_long: false };
        let mut rest = text;
        if let [b'-', tail @ ..] = rest {
            parts.negative = true;
            rest = tail;
        }
        let integer = leading_digits(rest);
        if integer == 0 || (integer > 1 && rest.first() == Some(&b'0')) {
            return None;
        }
        parts.take(&rest[..integer]);
        rest = &rest[integer..];
        if let [b'.', tail @ ..] = rest {
            let decimals = leading_digits(tail);
            if decimals == 0 {
                return None;
            }
            parts.take(&tail[..decimals]);
            parts.exponent -= decimals as i64;
            rest = &tail[decimals..];
        }
        if let [b'e' | b'E', tail @ ..] = rest {
            parts.exponent = parts.exponent.saturating_add(read_exponent(tail)?);
            rest = &[];
        }
        rest.is_empty().then_some(parts)
    }

    fn take(&mut self, digits: &[u8]) {
        for &digit in digits {
            if self.count == 0 && digit == b'0' {
                continue;
            }
            if self.count >= 37 {
                self.too_long |= digit != b'0';
                self.exponent += 1;
                continue;
            }
            self.digits = self.digits * 10 + u128::from(digit - b'0');
            self.count += 1;
        }
    }

    fn micros(&self) -> Option<i64> {
        if self.too_long {
            return None;
        }
        let mut value = self.digits;
        let mut shift = self.exponent.checked_add(6)?;
        while shift < 0 && value != 0 {
            if !value.is_multiple_of(10) {
                return None;
            }
            value /= 10;
            shift += 1;
        }
        while shift > 0 && value != 0 {
            value = value.checked_mul(10).filter(|&scaled| scaled <= LIMIT_MICROS as u128)?;
            shift -= 1;
        }
        let magnitude = i64::try_from(value).ok().filter(|&micros| micros <= LIMIT_MICROS)?;
        Some(if self.negative { -magnitude } else { magnitude })
    }
}

fn leading_digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn read_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || leading_digits(digits) != digits.len() {
        return None;
    }
    let magnitude =
        digits.iter().fold(0i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(1_000_000_000));
    Some(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::{Number, comparable};

    #[test]
    fn numbers_are_equal_by_value() {
        let equal = [
            ["300", "300.0"],
            ["300", "3.0e2"],
            ["0", "-0.0"],
            ["0.000001", "1e-6"],
            ["5000000000", "5e9"],
            ["-1.5", "-15E-1"],
            ["0e999999999999", "0"],
            ["10000000000", "10000000000"],
            ["1.0000000", "1"],
        ];
        for [left, right] in equal {
            assert_eq!(Number::parse(left), Number::parse(right), "{left} {right}");
        }
        let different =
            [["1", "1.000001"], ["12345678901234567", "12345678901234568"], ["0.0000001", "0"], ["1", "-1"]];
        for [left, right] in different {
            assert_ne!(Number::parse(left), Number::parse(right), "{left} {right}");
        }
    }

    #[test]
    fn only_json_numbers_parse() {
        for text in ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "0x1", "1 ", "NaN"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    #[test]
    fn comparable_numbers_have_a_range_and_six_decimals() {
        assert_eq!(comparable("5e9"), Ok(5_000_000_000_000_000));
        assert_eq!(comparable("5000000001"), Err("Value must be between -5.0E9 and 5.0E9, inclusive".into()));
        assert!(
            comparable("0.1234567").is_err_and(|reason| reason.starts_with("Only values upto 6 decimals"))
        );
    }
}
