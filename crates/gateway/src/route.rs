//! Which service a request is for: the decision table. Which of its operations, the service's own router knows
//! (`tidemill_wire::route`), for forms only once the body is there.

use http::{HeaderMap, Method, header};

use crate::{
    directory::{Directory, Entry, HttpEntry, Internal},
    host::{self, Named},
    http_steps::HostId,
    welcome,
};

/// What the decision is made from: everything but the body.
pub(crate) struct Clues<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    /// In lower case, without the port.
    pub(crate) host: &'a str,
    /// The service name in the signature's scope; `None` for unsigned requests and those in version 2.
    pub(crate) scope: Option<&'a str>,
    /// Signed in any way.
    pub(crate) signed: bool,
}

/// Where a request goes.
pub(crate) enum Destination<'g> {
    /// The page for people.
    Welcome,
    Health,
    Internal(&'g Internal),
    /// A service that speaks HTTP itself.
    Http(&'g HttpEntry, Address),
    Operations(&'g Entry),
    /// A query whose service is known once the form in its body is.
    Form,
    /// A service that we do not have, by the name the request gives it.
    Absent(String),
    /// A path of ours at which there is nothing.
    Nowhere,
    /// Nothing tells what is meant.
    Unknown,
}

/// What the host says to a service that speaks HTTP itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Address {
    /// S3: the bucket, where it stands in the host and not in the path.
    pub(crate) bucket: Option<String>,
    /// API Gateway and function URLs: the id and region.
    pub(crate) id: Option<HostId>,
}

/// Decides. The first that knows has the word: a path of ours, an address by id, the signature, the target, the query,
/// the protocol's path, the host, a REST path, a queue's URL, and S3 takes what is left.
pub(crate) fn destination<'g>(directory: &'g Directory, clues: &Clues<'_>) -> Destination<'g> {
    let named = host::read(clues.host);
    internal(directory, clues)
        .or_else(|| by_id(directory, named))
        .or_else(|| signature(directory, clues, named))
        .or_else(|| target(directory, clues))
        .or_else(|| query(directory, clues))
        .or_else(|| rpc_path(directory, clues))
        .or_else(|| endpoint(directory, named))
        .or_else(|| form(clues))
        .or_else(|| bucket_host(directory, clues, named))
        .or_else(|| rest_path(directory, clues))
        .or_else(|| queue_url(directory, clues))
        .or_else(|| welcome(clues))
        .or_else(|| s3_path(directory, clues))
        .unwrap_or(Destination::Unknown)
}

fn internal<'g>(directory: &'g Directory, clues: &Clues<'_>) -> Option<Destination<'g>> {
    // No bucket's name begins with an underscore.
    if !clues.path.starts_with("/_") {
        return None;
    }
    Some(match directory.internal(clues.path) {
        Some(internal) => Destination::Internal(internal),
        None if clues.path == welcome::HEALTH => Destination::Health,
        None => Destination::Nowhere,
    })
}

fn by_id<'g>(directory: &'g Directory, named: Named<'_>) -> Option<Destination<'g>> {
    let Named::ById { kind, id, region } = named else { return None };
    Some(match directory.http(kind) {
        Some(entry) => {
            let id = HostId { id: id.to_owned(), region: region.map(str::to_owned) };
            Destination::Http(entry, Address { id: Some(id), bucket: None })
        }
        None => Destination::Absent(kind.to_owned()),
    })
}

fn signature<'g>(directory: &'g Directory, clues: &Clues<'_>, named: Named<'_>) -> Option<Destination<'g>> {
    let scope = clues.scope?;
    if let Some(entry) = directory.http(scope) {
        let bucket = if scope == "s3" { bucket_of(named) } else { None };
        return Some(Destination::Http(entry, Address { bucket, id: None }));
    }
    let mut sharing = directory.signed_for(scope);
    let Some(first) = sharing.next() else { return Some(Destination::Absent(scope.to_owned())) };
    if sharing.next().is_none() {
        return Some(Destination::Operations(first));
    }
    // Several services sign with one name, such as DynamoDB and its streams.
    let meant = directory.targeted(target_prefix(clues).unwrap_or_default());
    let meant = meant.or_else(|| directory.signed_for(scope).find(|entry| has_path(entry, clues)));
    Some(Destination::Operations(meant.filter(|entry| entry.meta.signing_name == scope).unwrap_or(first)))
}

fn target<'g>(directory: &'g Directory, clues: &Clues<'_>) -> Option<Destination<'g>> {
    let prefix = target_prefix(clues)?;
    Some(
        directory
            .targeted(prefix)
            .map_or_else(|| Destination::Absent(prefix.to_owned()), Destination::Operations),
    )
}

/// `AmazonSQS` of `AmazonSQS.SendMessage`.
fn target_prefix<'a>(clues: &Clues<'a>) -> Option<&'a str> {
    let target = clues.headers.get("x-amz-target")?.to_str().ok()?;
    Some(target.rsplit_once('.').map_or(target, |(prefix, _)| prefix))
}

fn query<'g>(directory: &'g Directory, clues: &Clues<'_>) -> Option<Destination<'g>> {
    let action = parameter(clues.query, "Action")?;
    let found = directory.with_action(action, parameter(clues.query, "Version"));
    found.map(Destination::Operations)
}

/// The service of a form, by its action and version; the host or path may have told already.
pub(crate) fn of_form<'g>(directory: &'g Directory, clues: &Clues<'_>, form: &str) -> Option<&'g Entry> {
    let action = parameter(form, "Action")?;
    let by_path = is_queue_url(clues.path).then(|| directory.named("sqs")).flatten();
    by_path.or_else(|| directory.with_action(action, parameter(form, "Version")))
}

/// The value of a parameter, which for actions and versions needs no decoding.
pub(crate) fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, value)| value)
}

/// `/service/{id}/operation/{name}`, where the id is the model's with what is not a letter or digit left out.
fn rpc_path<'g>(directory: &'g Directory, clues: &Clues<'_>) -> Option<Destination<'g>> {
    if !clues.headers.contains_key("smithy-protocol") {
        return None;
    }
    let (_, rest) = clues.path.split_once("/service/")?;
    let (name, _) = rest.split_once("/operation/")?;
    let found = directory.services().iter().find(|entry| entry.has_rpc_name(name));
    Some(found.map_or_else(|| Destination::Absent(name.to_owned()), Destination::Operations))
}

fn endpoint<'g>(directory: &'g Directory, named: Named<'_>) -> Option<Destination<'g>> {
    match named {
        Named::Loose(labels) => directory.at_endpoint(labels).map(Destination::Operations),
        Named::Endpoint(labels) => {
            let known = directory.at_endpoint(labels);
            Some(known.map_or_else(|| Destination::Absent(labels.to_owned()), Destination::Operations))
        }
        _ => None,
    }
}

fn form<'g>(clues: &Clues<'_>) -> Option<Destination<'g>> {
    let content_type = clues.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let is_form = content_type.starts_with("application/x-www-form-urlencoded");
    (is_form && clues.method == Method::POST && (clues.path == "/" || is_queue_url(clues.path)))
        .then_some(Destination::Form)
}

fn bucket_host<'g>(directory: &'g Directory, clues: &Clues<'_>, named: Named<'_>) -> Option<Destination<'g>> {
    let s3 = directory.http("s3")?;
    match named {
        Named::S3 { .. } | Named::Loose(_) => {
            Some(Destination::Http(s3, Address { bucket: bucket_of(named), id: None }))
        }
        // A signature of version 2, which names no service, is S3's.
        _ if clues.signed => Some(Destination::Http(s3, Address::default())),
        _ => None,
    }
}

fn bucket_of(named: Named<'_>) -> Option<String> {
    match named {
        Named::S3 { bucket } => bucket.map(str::to_owned),
        Named::Loose(labels) => Some(labels.to_owned()),
        _ => None,
    }
}

fn rest_path<'g>(directory: &'g Directory, clues: &Clues<'_>) -> Option<Destination<'g>> {
    if clues.path == "/" {
        return None;
    }
    directory.services().iter().find(|entry| has_path(entry, clues)).map(Destination::Operations)
}

fn has_path(entry: &Entry, clues: &Clues<'_>) -> bool {
    entry.has_path(clues.method, clues.path, clues.query, clues.headers)
}

fn queue_url<'g>(directory: &'g Directory, clues: &Clues<'_>) -> Option<Destination<'g>> {
    if !is_queue_url(clues.path) {
        return None;
    }
    directory.named("sqs").map(Destination::Operations)
}

/// `/000000000000/jobs`, `/queue/us-east-1/000000000000/jobs`, `/us-east-1/queue/000000000000/jobs`.
pub(crate) fn is_queue_url(path: &str) -> bool {
    let mut parts = path.trim_start_matches('/').rsplit('/');
    let (Some(name), Some(account)) = (parts.next(), parts.next()) else { return false };
    let rest: Vec<&str> = parts.take(3).collect();
    let is_place = matches!(rest.as_slice(), [] | [_, "queue"] | ["queue", _]);
    is_place && !name.is_empty() && account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit())
}

fn welcome<'g>(clues: &Clues<'_>) -> Option<Destination<'g>> {
    let asks = matches!(*clues.method, Method::GET | Method::HEAD);
    (asks && clues.path == "/" && clues.query.is_empty()).then_some(Destination::Welcome)
}

fn s3_path<'g>(directory: &'g Directory, clues: &Clues<'_>) -> Option<Destination<'g>> {
    if clues.path.len() < 2 {
        return None;
    }
    directory.http("s3").map(|s3| Destination::Http(s3, Address::default()))
}
