//! Names inside a sandbox: a few are ours, all others are asked of the machine's own name server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;

use super::GATEWAY;

pub const PORT: u16 = 53;
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;
const TTL_S: u32 = 60;

/// The machine's first name server.
pub fn resolver() -> SocketAddr {
    static RESOLVER: OnceLock<SocketAddr> = OnceLock::new();
    *RESOLVER.get_or_init(|| {
        let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let address = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok());
        SocketAddr::new(address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), PORT)
    })
}

/// The answer to a question about one of our own names: the machine, and the platform's endpoint under the names clients give it.
pub fn answer_own(query: &[u8]) -> Option<Vec<u8>> {
    let (name, kind, class, end) = question(query)?;
    let address = if name == super::MACHINE {
        GATEWAY
    } else if ["localhost.localstack.cloud", "localhost"]
        .iter()
        .any(|own| name == *own || name.strip_suffix(own).is_some_and(|rest| rest.ends_with('.')))
    {
        Ipv4Addr::LOCALHOST
    } else {
        return None;
    };
    let answers = kind == TYPE_A && class == CLASS_IN;
    let mut answer = query.get(..2)?.to_vec();
    // An answer, recursion wanted and available; one question, one or no record.
    answer.extend_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(answers), 0, 0, 0, 0]);
    answer.extend_from_slice(query.get(12..end)?);
    if answers {
        answer.extend_from_slice(&[0xC0, 12]);
        answer.extend_from_slice(&TYPE_A.to_be_bytes());
        answer.extend_from_slice(&CLASS_IN.to_be_bytes());
        answer.extend_from_slice(&TTL_S.to_be_bytes());
        answer.extend_from_slice(&[0, 4]);
        answer.extend_from_slice(&address.octets());
    }
    Some(answer)
}

/// The name (lower case), type and class of a query's only question, and where it ends.
fn question(query: &[u8]) -> Option<(String, u16, u16, usize)> {
    let count = u16::from_be_bytes(query.get(4..6)?.try_into().ok()?);
    if count != 1 {
        return None;
    }
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if length > 63 || labels.len() > 127 {
            return None;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
    let class = u16::from_be_bytes(query.get(at + 2..at + 4)?.try_into().ok()?);
    Some((labels.join("."), kind, class, at + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut query = vec![0xAB, 0xCD, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(label.len() as u8);
            query.extend_from_slice(label.as_bytes());
        }
        query.push(0);
        query.extend_from_slice(&kind.to_be_bytes());
        query.extend_from_slice(&1u16.to_be_bytes());
        query
    }

    #[test]
    fn own_names_are_answered_and_others_are_not() {
        let address =
            |name: &str| answer_own(&query(name, TYPE_A)).map(|answer| answer[answer.len() - 4..].to_vec());
        assert_eq!(address("host.tidemill.internal"), Some(vec![198, 18, 0, 1]));
        assert_eq!(address("SQS.us-east-1.localhost.localstack.cloud"), Some(vec![127, 0, 0, 1]));
        assert_eq!(address("bucket.s3.localhost"), Some(vec![127, 0, 0, 1]));
        assert_eq!(address("notlocalhost"), None);
        assert_eq!(address("example.com"), None);
    }

    #[test]
    fn other_types_of_own_names_have_no_records() {
        let answer = answer_own(&query("host.tidemill.internal", 28)).unwrap();
        assert_eq!((answer[..2].to_vec(), answer[7]), (vec![0xAB, 0xCD], 0));
    }

    #[test]
    fn broken_questions_are_not_ours() {
        let whole = query("host.tidemill.internal", 1);
        for end in 0..whole.len() {
            assert_eq!(answer_own(&whole[..end]), None);
        }
        assert_eq!(answer_own(&[0xff; 64]), None);
    }
}
