//! Which operation a request asks for, and in which protocol. Tables are built once a service: operations by name, REST
//! paths as a tree of segments.
//!
//! Which service is meant is the gateway's business (the signature's scope, the target's prefix, the host).

use http::HeaderMap;
use rustc_hash::FxHashMap;
use tidemill_api::{OperationMeta, Protocol, ServiceMeta};

use crate::{Labels, aws_query, text};

/// Finds the operations of one service.
pub struct Router {
    service: &'static ServiceMeta,
    /// Index in `service.operations`.
    by_name: FxHashMap<&'static str, usize>,
    paths: Node,
}

/// The parts of a request that say what it asks for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a str,
    /// Raw, without the query.
    pub path: &'a str,
    /// Raw, without the `?`.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// An operation that was found.
#[derive(Debug)]
pub struct Route<'a> {
    pub protocol: Protocol,
    pub operation: &'static OperationMeta,
    /// Its index in the service's table.
    pub index: usize,
    pub labels: Labels<'a>,
}

/// Why no operation was found, with the protocol an error is to be written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unrouted {
    /// AWS has this operation; we do not.
    Absent(Protocol, &'static str),
    /// Nobody has it. Empty where the request names none.
    Unknown(Protocol, String),
}

impl Router {
    pub fn new(service: &'static ServiceMeta) -> Router {
        let mut router = Router { service, by_name: FxHashMap::default(), paths: Node::default() };
        let rest = service.protocols.iter().any(|protocol| is_rest(*protocol));
        for (index, operation) in service.operations.iter().enumerate() {
            router.by_name.insert(operation.name, index);
            if rest {
                router.paths.add(index, operation.method, operation.uri);
            }
        }
        for (at, absent) in service.absent.iter().enumerate().filter(|_| rest) {
            if let [_, method, uri] = absent.splitn(3, ' ').collect::<Vec<_>>()[..] {
                router.paths.add(service.operations.len() + at, method, uri);
            }
        }
        router
    }

    pub fn service(&self) -> &'static ServiceMeta {
        self.service
    }

    /// The index of the operation AWS calls `name`.
    pub fn operation(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Finds the operation: by the CBOR path, the target header, the action parameter, or method and path.
    pub fn route<'a>(&self, asked: Asked<'a>) -> Result<Route<'a>, Unrouted> {
        if let Some(name) = self.cbor_operation(asked) {
            return self.named(Protocol::RpcV2Cbor, name);
        }
        if let Some(target) = asked.headers.get("x-amz-target") {
            let target = target.to_str().unwrap_or_default();
            let (prefix, name) = target.rsplit_once('.').unwrap_or(("", target));
            let protocol = self.json_protocol(asked.headers);
            if self.service.target_prefix.is_some_and(|known| known != prefix) {
                return Err(Unrouted::Unknown(protocol, target.into()));
            }
            return self.named(protocol, name);
        }
        if self.speaks(Protocol::AwsQuery)
            && let Some(action) = aws_query::action(asked.query, asked.body)
        {
            return self.named(Protocol::AwsQuery, &action);
        }
        let preferred = self.service.protocols.first().copied().unwrap_or(Protocol::AwsJson10);
        let Some(protocol) = self.service.protocols.iter().copied().find(|protocol| is_rest(*protocol))
        else {
            return Err(Unrouted::Unknown(preferred, String::new()));
        };
        let unknown = || Unrouted::Unknown(protocol, format!("{} {}", asked.method, asked.path));
        let mut labels = Labels::new();
        let index = self.paths.find(segments(asked.path), asked, &mut labels).ok_or_else(unknown)?;
        if let Some(absent) =
            index.checked_sub(self.service.operations.len()).and_then(|at| self.service.absent.get(at))
        {
            return Err(Unrouted::Absent(protocol, name_of(absent)));
        }
        let operation = *self.service.operations.get(index).ok_or_else(unknown)?;
        Ok(Route { protocol, operation, index, labels })
    }

    fn named<'a>(&self, protocol: Protocol, name: &str) -> Result<Route<'a>, Unrouted> {
        if let Some(index) = self.operation(name)
            && let Some(operation) = self.service.operations.get(index)
        {
            return Ok(Route { protocol, operation, index, labels: Labels::new() });
        }
        Err(match self.service.absent.iter().find(|absent| name_of(absent) == name) {
            Some(absent) => Unrouted::Absent(protocol, name_of(absent)),
            None => Unrouted::Unknown(protocol, name.into()),
        })
    }

    /// The operation in `/service/<name>/operation/<operation>`; whatever stands before that does not matter.
    fn cbor_operation<'a>(&self, asked: Asked<'a>) -> Option<&'a str> {
        if !self.speaks(Protocol::RpcV2Cbor) || !asked.headers.contains_key("smithy-protocol") {
            return None;
        }
        let mut parts = asked.path.rsplit('/');
        let (name, operation, _, service) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        (operation == "operation" && service == "service").then_some(name)
    }

    fn speaks(&self, protocol: Protocol) -> bool {
        self.service.protocols.contains(&protocol)
    }

    /// The version of awsJson: what the content type says, else what the service prefers.
    fn json_protocol(&self, headers: &HeaderMap) -> Protocol {
        let content_type =
            headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if content_type.starts_with("application/x-amz-json-1.0") {
            return Protocol::AwsJson10;
        }
        if content_type.starts_with("application/x-amz-json-1.1") {
            return Protocol::AwsJson11;
        }
        let is_json = |protocol: &Protocol| matches!(protocol, Protocol::AwsJson10 | Protocol::AwsJson11);
        self.service.protocols.iter().copied().find(is_json).unwrap_or(Protocol::AwsJson10)
    }
}

/// The name in an absent operation's line.
fn name_of(absent: &'static str) -> &'static str {
    absent.split(' ').next().unwrap_or(absent)
}

fn is_rest(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::RestJson | Protocol::RestXml)
}

/// A path without its outer slashes. One at the end makes no difference to AWS, except inside a greedy label.
fn segments(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}

/// A place in the tree of paths.
#[derive(Default)]
struct Node {
    literals: FxHashMap<&'static str, Node>,
    label: Vec<(&'static str, Node)>,
    /// `{Key+}`: everything up to what follows it, if anything does.
    greedy: Vec<(&'static str, Node)>,
    ends: Vec<End>,
}

/// An operation whose path ends here.
struct End {
    method: &'static str,
    /// Fixed parameters of the template's query (`?list-type=2`); an empty value is not compared.
    query: Vec<(&'static str, &'static str)>,
    index: usize,
}

impl Node {
    fn add(&mut self, index: usize, method: &'static str, uri: &'static str) {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let mut node = self;
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let label = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            node = match label.map(|name| name.strip_suffix('+').ok_or(name)) {
                None => node.literals.entry(segment).or_default(),
                Some(Err(name)) => child(&mut node.label, name),
                Some(Ok(name)) => child(&mut node.greedy, name),
            };
        }
        let query = query.split('&').filter(|piece| !piece.is_empty());
        let query = query.map(|piece| piece.split_once('=').unwrap_or((piece, ""))).collect();
        node.ends.push(End { method, query, index });
        node.ends.sort_by_key(|end| std::cmp::Reverse(end.query.len()));
    }

    /// Literal segments come before labels, labels before greedy ones.
    fn find<'a>(&self, rest: &'a str, asked: Asked, labels: &mut Labels<'a>) -> Option<usize> {
        if rest.is_empty()
            && let Some(index) = self.end(asked)
        {
            return Some(index);
        }
        let (segment, after) = rest.split_once('/').unwrap_or((rest, ""));
        if let Some(node) = self.literals.get(segment)
            && let Some(index) = node.find(after, asked, labels)
        {
            return Some(index);
        }
        if rest.is_empty() {
            return None;
        }
        for (name, node) in &self.label {
            labels.push((name, segment));
            if let Some(index) = node.find(after, asked, labels) {
                return Some(index);
            }
            labels.pop();
        }
        self.greedy.iter().find_map(|(name, node)| node.find_behind_greedy(name, rest, asked, labels))
    }

    /// This node stands behind the greedy label: it ends there, or some suffix of segments follows.
    fn find_behind_greedy<'a>(
        &self,
        name: &'static str,
        rest: &'a str,
        asked: Asked,
        labels: &mut Labels<'a>,
    ) -> Option<usize> {
        labels.push((name, rest));
        if let Some(index) = self.end(asked) {
            return Some(index);
        }
        labels.pop();
        if self.literals.is_empty() && self.label.is_empty() {
            return None;
        }
        for (at, _) in rest.rmatch_indices('/') {
            let (taken, after) = (rest.get(..at)?, rest.get(at + 1..)?);
            labels.push((name, taken));
            if let Some(index) = self.find(after, asked, labels) {
                return Some(index);
            }
            labels.pop();
        }
        None
    }

    fn end(&self, asked: Asked) -> Option<usize> {
        let fits = |end: &&End| {
            end.method == asked.method && end.query.iter().all(|fixed| holds(asked.query, *fixed))
        };
        self.ends.iter().find(fits).map(|end| end.index)
    }
}

fn child<'n>(nodes: &'n mut Vec<(&'static str, Node)>, name: &'static str) -> &'n mut Node {
    let at = nodes.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
        nodes.push((name, Node::default()));
        nodes.len() - 1
    });
    &mut nodes[at].1
}

/// Whether a raw query holds a fixed parameter.
fn holds(query: &str, (name, value): (&str, &str)) -> bool {
    query.split('&').any(|piece| {
        let (known, given) = piece.split_once('=').unwrap_or((piece, ""));
        let same = |raw: &str, plain: &str| text::percent_decoded(raw, true).is_ok_and(|text| text == plain);
        same(known, name) && (value.is_empty() || same(given, value))
    })
}
