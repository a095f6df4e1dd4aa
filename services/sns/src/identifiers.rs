//! Data identifiers: what is found in the text of a message, by AWS's names for it and by patterns of one's own.
//! Source: the SNS developer guide, "Using managed data identifiers in Amazon SNS".

use std::{ops::Range, sync::LazyLock};

use regex::{Regex, RegexBuilder};

/// Characters of a pattern of one's own.
const LONGEST_PATTERN: usize = 200;
/// Bytes a compiled pattern may take.
const MOST_COMPILED: usize = 1 << 20;
/// Characters around a secret key in which a word must tell that it is one.
const NEAR: usize = 60;

/// Finds one kind of data.
#[derive(Debug, Clone)]
pub struct Identifier {
    /// As the policy names it.
    pub name: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Managed(&'static Managed),
    Custom(Regex),
}

/// A kind of data that AWS names.
#[derive(Debug)]
struct Managed {
    name: &'static str,
    pattern: LazyLock<Regex>,
    /// Looks closer at what the pattern found.
    is_one: fn(&str, Range<usize>) -> bool,
}

const ANY: fn(&str, Range<usize>) -> bool = |_, _| true;

macro_rules! pattern {
    ($pattern:literal) => {
        LazyLock::new(|| Regex::new($pattern).expect("the pattern is one"))
    };
}

static MANAGED: [Managed; 10] = [
    Managed {
        name: "EmailAddress",
        pattern: pattern!(
            r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"
        ),
        is_one: ANY,
    },
    Managed {
        name: "CreditCardNumber",
        pattern: pattern!(r"\b[2-6]\d(?:[ -]?\d){11,17}\b"),
        is_one: |text, at| is_card(&text[at]),
    },
    Managed {
        name: "IpAddress",
        pattern: pattern!(r"(?:\b\d{1,3}(?:\.\d{1,3}){3}\b)|(?:[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})"),
        is_one: |text, at| text[at].parse::<std::net::IpAddr>().is_ok_and(|ip| !ip.is_unspecified()),
    },
    Managed {
        name: "PhoneNumber-US",
        pattern: pattern!(
            r"(?:\+?1[ .-]?)?(?:\([2-9]\d{2}\) ?|\b[2-9]\d{2}[ .-])[2-9]\d{2}[ .-]\d{4}\b|\+1[2-9]\d{2}[2-9]\d{6}\b"
        ),
        is_one: ANY,
    },
    Managed {
        name: "Ssn-US",
        pattern: pattern!(r"\b\d{3}-\d{2}-\d{4}\b"),
        is_one: |text, at| is_social_security(&text[at]),
    },
    Managed { name: "AwsSecretKey", pattern: pattern!(r"[A-Za-z0-9/+]{40,}"), is_one: is_secret_key },
    Managed {
        name: "OpenSshPrivateKey",
        pattern: pattern!(r"-----BEGIN OPENSSH PRIVATE KEY-----[^-]*(?:-----END OPENSSH PRIVATE KEY-----)?"),
        is_one: ANY,
    },
    Managed {
        name: "PgpPrivateKey",
        pattern: pattern!(
            r"-----BEGIN PGP PRIVATE KEY BLOCK-----[^-]*(?:-----END PGP PRIVATE KEY BLOCK-----)?"
        ),
        is_one: ANY,
    },
    Managed {
        name: "PkcsPrivateKey",
        pattern: pattern!(
            r"-----BEGIN (?:RSA |EC |ENCRYPTED )?PRIVATE KEY-----[^-]*(?:-----END (?:RSA |EC |ENCRYPTED )?PRIVATE KEY-----)?"
        ),
        is_one: ANY,
    },
    Managed { name: "PuttyPrivateKey", pattern: pattern!(r"PuTTY-User-Key-File-\d: [^\r\n]+"), is_one: ANY },
];

impl Identifier {
    /// The one of an ARN's last part; `None` for those that cannot be found here.
    pub fn managed(arn: &str, name: &str) -> Option<Identifier> {
        let known = MANAGED.iter().find(|known| known.name == name)?;
        Some(Identifier { name: arn.into(), kind: Kind::Managed(known) })
    }

    /// One's own; `None` when the pattern is none, or too long.
    pub fn custom(name: &str, pattern: &str) -> Option<Identifier> {
        if pattern.is_empty() || pattern.len() > LONGEST_PATTERN {
            return None;
        }
        let pattern = RegexBuilder::new(pattern).size_limit(MOST_COMPILED).build().ok()?;
        Some(Identifier { name: name.into(), kind: Kind::Custom(pattern) })
    }

    /// Where the data is in a text, from front to back.
    pub fn find(&self, text: &str) -> Vec<Range<usize>> {
        match &self.kind {
            Kind::Custom(pattern) => {
                pattern.find_iter(text).map(|found| found.range()).filter(|at| !at.is_empty()).collect()
            }
            Kind::Managed(known) => {
                let found = known.pattern.find_iter(text).map(|found| found.range());
                found.filter(|at| (known.is_one)(text, at.clone())).collect()
            }
        }
    }
}

/// 13 to 19 digits whose last one checks the others.
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|character| character.to_digit(10)).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match at % 2 {
            0 => *digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    (13..=19).contains(&digits.len()) && sum.is_multiple_of(10)
}

/// Areas, groups and serials that were never given out are none.
fn is_social_security(text: &str) -> bool {
    let mut parts = text.split('-');
    let (area, group, serial) = (parts.next(), parts.next(), parts.next());
    !matches!(area, Some("000" | "666"))
        && !text.starts_with('9')
        && group != Some("00")
        && serial != Some("0000")
}

/// Forty characters, neither digits nor letters alone, near a word that says what they are.
fn is_secret_key(text: &str, at: Range<usize>) -> bool {
    let key = &text[at.clone()];
    let has = |is: fn(&u8) -> bool| key.as_bytes().iter().any(is);
    if key.len() != 40
        || !has(u8::is_ascii_digit)
        || !has(u8::is_ascii_uppercase)
        || !has(u8::is_ascii_lowercase)
    {
        return false;
    }
    let before: String = text[..at.start].chars().rev().take(NEAR).collect();
    let before: String = before.chars().rev().collect::<String>().to_ascii_lowercase();
    ["secret", "aws", "credential", "key"].iter().any(|word| before.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, text: &str, wanted: &[&str]) {
        let identifier = Identifier::managed("arn", name).unwrap();
        let found: Vec<&str> = identifier.find(text).into_iter().map(|at| &text[at]).collect();
        assert_eq!(found, wanted, "{name} in {text:?}");
    }

    #[test]
    fn data_is_found() {
        check(
            "EmailAddress",
            "write to ann@example.com, or bob.b+x@mail.example.org.",
            &["ann@example.com", "bob.b+x@mail.example.org"],
        );
        check("EmailAddress", "user@host and @example.com", &[]);
        check("CreditCardNumber", "4111 1111 1111 1111 and 4111-1111-1111-1112", &["4111 1111 1111 1111"]);
        check("CreditCardNumber", "{\"card\":5500000000000004}", &["5500000000000004"]);
        check(
            "IpAddress",
            "from 192.168.0.1 not 300.1.1.1, and 2001:db8::1",
            &["192.168.0.1", "2001:db8::1"],
        );
        check("IpAddress", "at 12:30:45", &[]);
        check(
            "PhoneNumber-US",
            "call (415) 555-2671 or +14155552671 or 415-555-2671",
            &["(415) 555-2671", "+14155552671", "415-555-2671"],
        );
        check("PhoneNumber-US", "order 1234567", &[]);
        check("Ssn-US", "078-05-1120, 000-12-3456, 912-34-5678", &["078-05-1120"]);
        check(
            "AwsSecretKey",
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            &["wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"],
        );
        check("AwsSecretKey", "commit 9c2f0a6bd3f1e9c2f0a6bd3f1e9c2f0a6bd3f1e9", &[]);
        check(
            "PkcsPrivateKey",
            "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
            &["-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----"],
        );
    }

    #[test]
    fn own_patterns_are_bounded() {
        assert_eq!(Identifier::custom("Order", r"ORD-\d+").unwrap().find("ORD-12 ord-3"), vec![0..6; 1]);
        assert!(Identifier::custom("Order", "(").is_none());
        assert!(Identifier::custom("Order", &"a".repeat(201)).is_none());
        assert!(Identifier::custom("Order", "(a{1000}){1000}").is_none());
    }
}
