//! The X-Ray trace header, which every hop of an event carries: `Root=1-5759e988-bd86…;Parent=53995c3f42cd8ad8;Sampled=1`.

use std::fmt;

use tidemill_api::Timestamp;

use crate::Random;

/// What a trace header says. Unknown fields (`Lineage`, `Self`) are kept as they came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// `1-<8 hex digits of the time>-<24 hex digits>`; empty when there is none.
    pub root: String,
    /// The calling segment: 16 hex digits.
    pub parent: Option<String>,
    pub sampled: Option<bool>,
    rest: Option<String>,
}

impl Trace {
    /// A trace that begins now, not sampled.
    pub fn begin(now: Timestamp, random: &Random) -> Trace {
        let root = format!("1-{:08x}-{}", now.secs() as u32, random.hex::<12>());
        Trace { root, ..Trace::default() }
    }

    /// Reads a header; `None` when it has no well-formed root.
    pub fn parse(header: &str) -> Option<Trace> {
        let mut trace = Trace::default();
        for field in header.split(';').map(str::trim) {
            match field.split_once('=') {
                Some(("Root", root)) if is_root(root) => trace.root = root.to_string(),
                Some(("Parent", parent)) if parent.len() == 16 => trace.parent = Some(parent.to_string()),
                Some(("Sampled", sampled)) => trace.sampled = (sampled != "?").then_some(sampled == "1"),
                Some(("Self", _)) | None => {}
                Some(_) => trace.keep(field),
            }
        }
        (!trace.root.is_empty()).then_some(trace)
    }

    fn keep(&mut self, field: &str) {
        let rest = self.rest.get_or_insert_default();
        if rest.len() + field.len() < 512 {
            if !rest.is_empty() {
                rest.push(';');
            }
            rest.push_str(field);
        }
    }

    /// The same trace one segment further: `segment` is the parent of what follows.
    pub fn child(&self, segment: &str) -> Trace {
        Trace { parent: Some(segment.to_string()), ..self.clone() }
    }
}

fn is_root(root: &str) -> bool {
    root.len() == 35
        && root.starts_with("1-")
        && root.bytes().skip(2).all(|b| b.is_ascii_hexdigit() || b == b'-')
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root={}", self.root)?;
        if let Some(parent) = &self.parent {
            write!(f, ";Parent={parent}")?;
        }
        if let Some(sampled) = self.sampled {
            write!(f, ";Sampled={}", u8::from(sampled))?;
        }
        match &self.rest {
            Some(rest) => write!(f, ";{rest}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_and_written() {
        let header =
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1|b:2";
        assert_eq!(Trace::parse(header).unwrap().to_string(), header);
        assert_eq!(Trace::parse("Sampled=1"), None);
        assert_eq!(Trace::parse("Root=nonsense"), None);
    }

    #[test]
    fn a_new_trace_is_well_formed() {
        let trace = Trace::begin(Timestamp::from_secs(1_465_510_280), &Random::seeded(1));
        assert!(trace.root.starts_with("1-5759e988-"));
        assert_eq!(Trace::parse(&trace.to_string()), Some(trace));
    }
}
