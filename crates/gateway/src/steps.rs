//! The steps of the pipeline to services of typed operations, in the order they are taken, and those all ways share.
//! The steps to HTTP services are in `http_steps.rs`.

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Response, StatusCode, request::Parts};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tidemill_api::{Fault, OperationMeta, Protocol, WriteShape};
use tidemill_platform::{Cx, HttpBody, service::Call};
use tidemill_sigv4::{AuthError, Body, BodyCheck, Credential, VerifyOptions};
use tidemill_wire::{Incoming, Route, Unrouted, route::Asked};

use crate::{
    answer::{self, AnswerBody, Refusal},
    content::{self, NotGunzipped},
    cors,
    detached::Detached,
    directory::Entry,
    exchange::{self, Exchange, Voice},
    gateway::Auth,
    identify::{self, Identified},
    route::{self, Clues, Destination},
    upload::{BodyError, Upload},
};

/// What an anonymous caller may send where signatures are enforced, in bytes.
const MAX_ANONYMOUS_BODY: usize = 64 << 10;

/// Finds the service, and from now on speaks its language.
pub(crate) fn route<'g>(
    exchange: &mut Exchange<'g>,
    head: &Parts,
    credential: Option<&Credential>,
) -> Destination<'g> {
    let host = exchange::host_of(head);
    let destination = route::destination(&exchange.gateway.directory, &clues(head, &host, credential));
    match &destination {
        Destination::Operations(entry) => exchange.address(entry, head),
        Destination::Http(entry, _) if entry.name == "s3" => exchange.voice = Voice::S3,
        _ => {}
    }
    destination
}

fn clues<'a>(head: &'a Parts, host: &'a str, credential: Option<&'a Credential>) -> Clues<'a> {
    Clues {
        method: &head.method,
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers: &head.headers,
        host,
        scope: credential.map(|credential| credential.service.as_str()).filter(|service| !service.is_empty()),
        signed: credential.is_some(),
    }
}

/// A service that does not exist here, named as the request names it.
pub(crate) fn no_such_service(name: &str) -> Fault {
    let name: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
    Fault::not_implemented(format!("the service '{name}'"))
}

/// Nothing answers at this path of ours.
pub(crate) fn no_such_path(head: &Parts) -> Fault {
    Fault::new("NotFound", format!("There is nothing at {}.", head.uri.path())).with_status(404)
}

/// What HTTP allows and no AWS API uses. Sizes and counts are held to their limits while the head is read.
pub(crate) fn limit(head: &Parts) -> Result<(), Fault> {
    match head.method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS => Ok(()),
        _ => {
            Err(Fault::new("MethodNotAllowed", "The specified method is not allowed against this resource.")
                .with_status(405))
        }
    }
}

/// Answers what browsers ask beforehand, and keeps pages from elsewhere out.
pub(crate) fn browser(
    exchange: &mut Exchange<'_>,
    head: &Parts,
    destination: &Destination<'_>,
) -> Result<Option<Response<AnswerBody>>, Fault> {
    let config = &exchange.gateway.config;
    // A resource with a host of its own (a function's URL) has its own rules for other origins.
    let has_own_rules = matches!(destination, Destination::Http(_, address) if address.id.is_some());
    if config.auth == Auth::Enforce || has_own_rules {
        return Ok(None);
    }
    let looks = head.method == Method::GET
        && matches!(destination, Destination::Http(..) | Destination::Welcome | Destination::Health);
    match cors::origin(&head.headers, &config.cors_origins, looks) {
        cors::Origin::None => Ok(None),
        cors::Origin::Foreign => Err(Fault::new(
            "AccessDenied",
            "Web pages from other origins may not use this endpoint; allow the origin in the configuration, or use --auth enforce.",
        )
        .with_status(403)),
        cors::Origin::Allowed(page) => {
            exchange.page = Some(page);
            Ok(cors::is_preflight(head).then(|| preflight(&head.headers)))
        }
    }
}

fn preflight(asked: &HeaderMap) -> Response<AnswerBody> {
    let mut response = exchange::empty(StatusCode::NO_CONTENT);
    cors::allow_preflight(response.headers_mut(), asked);
    response
}

/// Reads the body whole, up to what the service takes.
pub(crate) async fn read_body(
    exchange: &Exchange<'_>,
    entry: Option<&Entry>,
    caller: &Identified,
    upload: Upload,
) -> Result<Bytes, Fault> {
    let config = &exchange.gateway.config;
    let usual = entry.and_then(|entry| entry.body_limit).unwrap_or(config.max_body);
    let is_stranger = config.auth == Auth::Enforce && caller.is_anonymous();
    let limit = if is_stranger { usual.min(MAX_ANONYMOUS_BODY) } else { usual };
    upload.whole(limit, config.body_timeout).await.map_err(|error| unread(exchange, &error))
}

/// Why a body was not taken, in the words of the protocol.
fn unread(exchange: &Exchange<'_>, error: &BodyError) -> Fault {
    match error {
        BodyError::TooLarge(limit) => too_large(exchange, *limit),
        BodyError::Stalled => {
            let sentence = "Your socket connection to the server was not read from or written to within the timeout period.";
            Fault::new("RequestTimeout", sentence)
        }
        BodyError::Broken(_) | BodyError::Refused(_) => {
            Fault::new("IncompleteBody", "The request body ended before it was complete.")
        }
    }
}

fn too_large(exchange: &Exchange<'_>, limit: usize) -> Fault {
    let (code, sentence) = match exchange.voice {
        Voice::Operations { protocol: Protocol::RestJson, .. } => {
            ("RequestTooLargeException", format!("Request must be smaller than {limit} bytes"))
        }
        _ => ("RequestEntityTooLarge", format!("The request body is larger than {limit} bytes.")),
    };
    Fault::new(code, sentence).with_status(413)
}

/// The service of a form that nothing but its body tells.
pub(crate) fn service_of_form<'g>(
    exchange: &mut Exchange<'g>,
    known: Option<&'g Entry>,
    head: &Parts,
    body: &[u8],
) -> Result<&'g Entry, Refusal> {
    if let Some(entry) = known {
        return Ok(entry);
    }
    let form = String::from_utf8_lossy(body);
    let found = route::of_form(&exchange.gateway.directory, &clues(head, "", None), &form);
    let Some(entry) = found else {
        return Err(match route::parameter(&form, "Action") {
            Some(action) => {
                unknown_action(action, route::parameter(&form, "Version").unwrap_or_default()).into()
            }
            None => AuthError::MissingToken.into(),
        });
    };
    exchange.address(entry, head);
    exchange.number();
    Ok(entry)
}

/// Finds the operation, and whether it is here.
pub(crate) fn choose<'g, 'a>(
    exchange: &mut Exchange<'g>,
    entry: &'g Entry,
    head: &'a Parts,
    body: &'a [u8],
) -> Result<Route<'a>, Fault> {
    let asked = Asked {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers: &head.headers,
        body,
    };
    let found = entry.router.route(asked);
    let (protocol, operation) = match &found {
        Ok(route) => (route.protocol, Some(route.operation)),
        Err(Unrouted::Absent(protocol, _) | Unrouted::Unknown(protocol, _)) => (*protocol, None),
    };
    exchange.voice = Voice::Operations { entry, protocol, operation };
    let not_here = |name: &str| Fault::not_implemented(format!("{} {name}", entry.meta.name));
    match found {
        Ok(route) if entry.service.implements(route.index) => Ok(route),
        Ok(route) => Err(not_here(route.operation.name)),
        Err(Unrouted::Absent(_, name)) => Err(not_here(name)),
        Err(Unrouted::Unknown(Protocol::AwsQuery, action)) if action.is_empty() => {
            Err(Fault::new("MissingAction", "The request is missing an action or a required parameter."))
        }
        Err(Unrouted::Unknown(Protocol::AwsQuery, action)) => {
            Err(unknown_action(&action, entry.meta.api_version))
        }
        Err(Unrouted::Unknown(protocol, _)) => Err(unknown_operation(protocol)),
    }
}

/// AWS says no more than this.
fn unknown_operation(protocol: Protocol) -> Fault {
    let is_json = matches!(protocol, Protocol::AwsJson10 | Protocol::AwsJson11);
    Fault::new("UnknownOperationException", "").with_status(if is_json { 400 } else { 404 })
}

/// As AWS's query services have it.
pub(crate) fn unknown_action(action: &str, version: &str) -> Fault {
    Fault::new("InvalidAction", format!("Could not find operation {action} for version {version}"))
}

/// Holds the signature against the body, and undoes `aws-chunked`. Operations that need no signature are let through
/// without one.
pub(crate) fn prove(
    exchange: &Exchange<'_>,
    entry: &Entry,
    operation: &OperationMeta,
    head: &Parts,
    caller: &Identified,
    body: &Bytes,
) -> Result<Bytes, AuthError> {
    let gateway = exchange.gateway;
    if gateway.config.auth == Auth::Enforce && caller.is_anonymous() && operation.auth != Some("none") {
        return Err(AuthError::MissingToken);
    }
    let names = [entry.meta.signing_name];
    let mut options = VerifyOptions::service(&names);
    options.unsigned_payload = operation.auth == Some("v4-unsigned-body");
    if !content::is_aws_chunked(&head.headers) {
        identify::prove(gateway, head, caller, Body::Whole(body), &options)?;
        return Ok(body.clone());
    }
    // Chunks are S3's invention: where another service gets them, what is signed of the body is S3's word for it.
    options.s3 = caller.is_version_4();
    let signing = match identify::prove(gateway, head, caller, Body::Streamed, &options)? {
        BodyCheck::Chunks { signing, .. } => signing,
        _ => None,
    };
    content::unchunk(&head.headers, body.clone(), signing)
}

/// Undoes gzip.
pub(crate) fn uncompress(
    exchange: &Exchange<'_>,
    entry: &Entry,
    head: &Parts,
    body: Bytes,
) -> Result<Bytes, Fault> {
    if !content::is_gzip(&head.headers) {
        return Ok(body);
    }
    let limit = entry.body_limit.unwrap_or(exchange.gateway.config.max_body);
    content::gunzip(&body, limit).map_err(|error| match error {
        NotGunzipped::TooLarge => too_large(exchange, limit),
        NotGunzipped::Malformed => {
            Fault::new("SerializationException", "The request body is not valid gzip.")
        }
    })
}

/// A query to a queue's URL means that queue, whether or not the form says so again.
pub(crate) fn name_queue(
    exchange: &Exchange<'_>,
    entry: &Entry,
    protocol: Protocol,
    head: &Parts,
    form: Bytes,
) -> Bytes {
    let path = head.uri.path();
    let says = |text: &str| route::parameter(text, "QueueUrl").is_some();
    let is_queue = protocol == Protocol::AwsQuery && entry.meta.name == "sqs" && route::is_queue_url(path);
    if !is_queue
        || says(head.uri.query().unwrap_or_default())
        || says(std::str::from_utf8(&form).unwrap_or_default())
    {
        return form;
    }
    let scheme = if exchange.origin.secure { "https" } else { "http" };
    let url = format!("{scheme}://{}{path}", exchange::authority(head));
    let mut named = form.to_vec();
    named.extend_from_slice(format!("&QueueUrl={}", utf8_percent_encode(&url, NON_ALPHANUMERIC)).as_bytes());
    named.into()
}

/// Reads the input, and checks every constraint of the contract.
pub(crate) fn decode(
    entry: &Entry,
    chosen: &mut Route<'_>,
    head: &Parts,
    body: Bytes,
) -> Result<Box<dyn Call>, Fault> {
    let incoming = Incoming {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers: &head.headers,
        body,
        labels: std::mem::take(&mut chosen.labels),
    };
    tidemill_wire::decode(chosen.protocol, entry.meta, chosen.operation, &incoming, |reader| {
        let read = entry.service.read(chosen.index, reader);
        read.unwrap_or_else(|| Err(tidemill_api::ReadError::new("the operation has no function")))
    })
}

/// May the caller do this?
pub(crate) fn authorise(
    exchange: &Exchange<'_>,
    cx: &Cx,
    entry: &Entry,
    operation: &OperationMeta,
    call: &dyn Call,
) -> Result<(), Fault> {
    match &exchange.gateway.authorizer {
        Some(authorizer) => authorizer.authorize(cx, entry.meta, operation, call.input()),
        None => Ok(()),
    }
}

/// Runs the operation, to its end even if the caller hangs up.
pub(crate) async fn run(
    exchange: &Exchange<'_>,
    cx: Cx,
    call: Box<dyn Call>,
) -> Result<Box<dyn WriteShape>, Fault> {
    Detached::new(call.run(cx), &exchange.gateway.detached).await
}

/// Likewise for a handler that speaks HTTP.
pub(crate) async fn call(
    exchange: &Exchange<'_>,
    run: BoxFuture<'static, Response<HttpBody>>,
) -> Response<AnswerBody> {
    Detached::new(run, &exchange.gateway.detached).await.map(AnswerBody::Http)
}

/// The answer of an operation that succeeded.
pub(crate) fn encode(
    exchange: &Exchange<'_>,
    entry: &Entry,
    chosen: &Route<'_>,
    output: &dyn WriteShape,
) -> Response<AnswerBody> {
    let encoded = tidemill_wire::encode(chosen.protocol, entry.meta, chosen.operation, output, &exchange.id);
    answer::from_encoded(if entry.crc32 { encoded.with_crc32() } else { encoded })
}
