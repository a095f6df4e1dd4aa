//! DynamoDB's numbers: 38 significant decimal digits, magnitude from 1E-130 to 9.99…E+125, exact.

use std::{cmp::Ordering, fmt};

use crate::Invalid;

/// Significant digits.
const DIGITS: u32 = 38;
/// The smallest and largest power of ten of the leading digit.
const LEAST: i32 = -130;
const MOST: i32 = 125;

/// `coefficient × 10^exponent`, without trailing zeros in the coefficient; zero has exponent 0 and no sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Number {
    negative: bool,
    coefficient: u128,
    exponent: i32,
}

impl Number {
    pub const ZERO: Number = Number { negative: false, coefficient: 0, exponent: 0 };

    /// Reads a decimal in plain or exponent form.
    pub fn parse(text: &str) -> Result<Number, Invalid> {
        let bad = || Invalid::new(format!("The parameter cannot be converted to a numeric value: {text}"));
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, power) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], rest[at + 1..].parse::<i32>().map_err(|_| bad())?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = whole.bytes().chain(fraction.bytes());
        if whole.len() + fraction.len() == 0 || !digits.clone().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        // Leading and trailing zeros count for nothing, however many there are.
        let significant: Vec<u8> = digits.skip_while(|b| *b == b'0').collect();
        let zeros = significant.iter().rev().take_while(|b| **b == b'0').count();
        let kept = &significant[..significant.len() - zeros];
        if kept.is_empty() {
            return Ok(Number::ZERO);
        }
        if kept.len() > DIGITS as usize {
            return Err(Invalid::new("Attempting to store more than 38 significant digits in a Number"));
        }
        let coefficient = kept.iter().fold(0_u128, |sum, b| sum * 10 + u128::from(b - b'0'));
        let scale = i64::from(power) - i64::try_from(fraction.len()).map_err(|_| bad())?
            + i64::try_from(zeros).map_err(|_| bad())?;
        let exponent = i32::try_from(scale.clamp(-100_000, 100_000)).map_err(|_| bad())?;
        Number { negative, coefficient, exponent }.in_range()
    }

    fn in_range(self) -> Result<Number, Invalid> {
        let leading = self.leading();
        if self.coefficient == 0 {
            Ok(Number::ZERO)
        } else if leading > MOST {
            Err(Invalid::new(
                "Number overflow. Attempting to store a number with magnitude larger than supported range",
            ))
        } else if leading < LEAST {
            Err(Invalid::new(
                "Number underflow. Attempting to store a number with magnitude smaller than supported range",
            ))
        } else {
            Ok(self)
        }
    }

    /// The power of ten of the first digit.
    fn leading(&self) -> i32 {
        self.exponent + i32::try_from(count_digits(self.coefficient)).unwrap_or(0) - 1
    }

    pub fn is_zero(&self) -> bool {
        self.coefficient == 0
    }

    pub fn negate(self) -> Number {
        Number { negative: !self.negative && self.coefficient != 0, ..self }
    }

    /// The exact sum; refused when it needs more digits than a number has.
    pub fn add(&self, other: &Number) -> Result<Number, Invalid> {
        if self.is_zero() {
            return Ok(*other);
        }
        if other.is_zero() {
            return Ok(*self);
        }
        let (high, low) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        let shift = u32::try_from(high.exponent - low.exponent).unwrap_or(u32::MAX);
        let precise = || Invalid::new("Attempting to store more than 38 significant digits in a Number");
        let aligned = 10_u128
            .checked_pow(shift)
            .and_then(|factor| high.coefficient.checked_mul(factor))
            .ok_or_else(precise)?;
        let (negative, coefficient) = if high.negative == low.negative {
            (high.negative, aligned.checked_add(low.coefficient).ok_or_else(precise)?)
        } else if aligned >= low.coefficient {
            (high.negative, aligned - low.coefficient)
        } else {
            (low.negative, low.coefficient - aligned)
        };
        let sum = Number { negative, coefficient, exponent: low.exponent }.trimmed();
        if count_digits(sum.coefficient) > DIGITS { Err(precise()) } else { sum.in_range() }
    }

    pub fn subtract(&self, other: &Number) -> Result<Number, Invalid> {
        self.add(&other.negate())
    }

    fn trimmed(mut self) -> Number {
        if self.coefficient == 0 {
            return Number::ZERO;
        }
        while self.coefficient.is_multiple_of(10) {
            self.coefficient /= 10;
            self.exponent += 1;
        }
        self
    }

    /// Bytes a number weighs: about one for two digits, one more, and one for a sign.
    pub fn size(&self) -> usize {
        let digits = count_digits(self.coefficient) as usize;
        if self.coefficient == 0 { 1 } else { digits.div_ceil(2) + 1 + usize::from(self.negative) }
    }

    /// Sign, leading power of ten and digits; what `key` and `encoding` write.
    pub(crate) fn parts(&self) -> (bool, i32, u128) {
        (self.negative, self.exponent, self.coefficient)
    }

    pub(crate) fn from_parts(negative: bool, exponent: i32, coefficient: u128) -> Option<Number> {
        Number { negative, coefficient, exponent }.trimmed().in_range().ok()
    }

    pub(crate) fn magnitude(&self) -> i32 {
        self.leading()
    }
}

pub(crate) fn count_digits(coefficient: u128) -> u32 {
    coefficient.checked_ilog10().map_or(0, |log| log + 1)
}

impl Ord for Number {
    fn cmp(&self, other: &Number) -> Ordering {
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => magnitude_order(self, other),
            (true, true) => magnitude_order(other, self),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn magnitude_order(a: &Number, b: &Number) -> Ordering {
    match (a.is_zero(), b.is_zero()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Less,
        (false, true) => return Ordering::Greater,
        (false, false) => {}
    }
    let stretched = |n: &Number| n.coefficient * 10_u128.pow(DIGITS - count_digits(n.coefficient));
    a.leading().cmp(&b.leading()).then_with(|| stretched(a).cmp(&stretched(b)))
}

impl fmt::Display for Number {
    /// Plain notation, as DynamoDB answers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        let digits = self.coefficient.to_string();
        if self.exponent >= 0 {
            write!(f, "{digits}{}", "0".repeat(self.exponent.unsigned_abs() as usize))
        } else {
            let after = self.exponent.unsigned_abs() as usize;
            match digits.len().checked_sub(after) {
                Some(whole) if whole > 0 => write!(f, "{}.{}", &digits[..whole], &digits[whole..]),
                _ => write!(f, "0.{}{digits}", "0".repeat(after - digits.len())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn n(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn numbers_print_plainly() {
        for (text, printed) in [
            ("0", "0"),
            ("-0.00", "0"),
            ("007.500", "7.5"),
            ("1E3", "1000"),
            ("1.5e-3", "0.0015"),
            ("-12.30", "-12.3"),
            ("+5", "5"),
            ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        ] {
            assert_eq!(n(text).to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "abc", "1.2.3", "1e", "--1", "1 ", "0x10", "NaN", "e5", "."] {
            assert!(
                Number::parse(text).unwrap_err().0.starts_with("The parameter cannot be converted"),
                "{text}"
            );
        }
        assert!(Number::parse(&"1".repeat(39)).unwrap_err().0.contains("38 significant digits"));
        assert!(Number::parse("1E126").unwrap_err().0.starts_with("Number overflow"));
        assert!(Number::parse("1E-131").unwrap_err().0.starts_with("Number underflow"));
        assert!(Number::parse("9.99E125").is_ok() && Number::parse("1E-130").is_ok());
    }

    #[test]
    fn sums_are_exact() {
        for (a, b, sum) in [
            ("0.1", "0.2", "0.3"),
            ("10", "-10", "0"),
            ("1E20", "1", "100000000000000000001"),
            ("-1.5", "1", "-0.5"),
            ("999", "1", "1000"),
        ] {
            assert_eq!(n(a).add(&n(b)).unwrap(), n(sum));
        }
        assert!(n("1E125").add(&n("1E-130")).is_err());
    }

    proptest! {
        #[test]
        fn order_and_sums_agree_with_integers(a in -1_000_000_000_i64..1_000_000_000, b in -1_000_000_000_i64..1_000_000_000) {
            let (x, y) = (n(&a.to_string()), n(&b.to_string()));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x.add(&y).unwrap().to_string(), (a + b).to_string());
            prop_assert_eq!(x.subtract(&y).unwrap().to_string(), (a - b).to_string());
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = Number::parse(&text);
        }
    }
}
