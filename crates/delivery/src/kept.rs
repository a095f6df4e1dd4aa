//! Which rows the ledger has and in which journeys they are, so that the oldest are dropped without being read: under
//! load they would come from the disk at the rate at which new ones are written.

use std::collections::VecDeque;

/// Rows written since the ledger was opened, the oldest first.
#[derive(Default)]
pub struct Kept(VecDeque<(u64, Root)>);

impl Kept {
    /// Notes a row with its journeys; numbers ascend.
    pub fn push<'a>(&mut self, number: u64, traces: impl Iterator<Item = &'a str>) {
        self.0.extend(traces.map(|trace| (number, Root::of(trace))));
    }

    /// Forgets the rows before `until`; their numbers and journeys.
    pub fn take_before(&mut self, until: u64) -> Vec<(u64, String)> {
        let many = self.0.partition_point(|(number, _)| *number < until);
        self.0.drain(..many).map(|(number, root)| (number, root.printed())).collect()
    }
}

/// The root of a trace in little room.
enum Root {
    /// Of the form that X-Ray gives roots: `1-`, eight digits, `-`, 24 digits.
    Usual([u8; 16]),
    Other(Box<str>),
}

impl Root {
    fn of(text: &str) -> Root {
        let usual = || {
            let (time, unique) = text.strip_prefix("1-")?.split_once('-')?;
            let mut bytes = [0; 16];
            hex::decode_to_slice(time, &mut bytes[..4]).ok()?;
            hex::decode_to_slice(unique, &mut bytes[4..]).ok()?;
            Some(Root::Usual(bytes))
        };
        // Digits may have been written large; then they are kept as they are.
        usual().filter(|root| root.printed() == text).unwrap_or_else(|| Root::Other(text.into()))
    }

    fn printed(&self) -> String {
        match self {
            Root::Usual(bytes) => format!("1-{}-{}", hex::encode(&bytes[..4]), hex::encode(&bytes[4..])),
            Root::Other(text) => text.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_come_back_as_they_were() {
        let roots = ["1-5759e988-bd862e3fe1be46a994272793", "1-5759E988-bd862e3fe1be46a994272793", "t1", ""];
        let mut kept = Kept::default();
        for (number, root) in roots.iter().enumerate() {
            kept.push(number as u64 * 10, [*root].into_iter());
        }
        let row = |number: u64, root: &str| (number, root.to_string());
        assert_eq!(kept.take_before(11), [row(0, roots[0]), row(10, roots[1])]);
        assert_eq!(kept.take_before(11), []);
        assert_eq!(kept.take_before(u64::MAX), [row(20, roots[2]), row(30, roots[3])]);
        assert!(size_of::<(u64, Root)>() <= 32);
    }
}
