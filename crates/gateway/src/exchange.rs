//! One request and its answer: what is known of it so far, how a refusal is worded, what every answer carries.
//! The steps that fill it in are in `steps.rs`; S3's error documents are written in `answer.rs`.

use std::any::Any;

use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header, request::Parts};
use tidemill_api::{Fault, OperationMeta, Protocol, ServiceMeta, Validation};
use tidemill_platform::{Cx, Request, Trace};
use tidemill_sigv4::Family;

use crate::{
    answer::{self, AnswerBody, Refusal},
    cors,
    directory::Entry,
    gateway::{Caller, Gateway},
    host,
    ids::{self, IdStyle},
    server::Peer,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const S3_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const S3_HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");

/// The other end of a connection as its requests need it.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) source_ip: String,
    pub(crate) secure: bool,
    pub(crate) caller: Option<Caller>,
}

impl Origin {
    pub(crate) fn of(peer: Peer) -> Origin {
        let source_ip =
            peer.address.map(|address| address.ip().to_canonical().to_string()).unwrap_or_default();
        Origin { source_ip, secure: peer.secure, caller: peer.caller }
    }
}

/// In whose words a refusal is put.
#[derive(Clone, Copy)]
pub(crate) enum Voice<'g> {
    /// No service was found; the protocol is guessed.
    Nobody(Protocol),
    Operations {
        entry: &'g Entry,
        protocol: Protocol,
        operation: Option<&'static OperationMeta>,
    },
    /// S3's XML.
    S3,
}

/// A request on its way.
pub(crate) struct Exchange<'g> {
    pub(crate) gateway: &'g Gateway,
    pub(crate) origin: &'g Origin,
    pub(crate) id: String,
    pub(crate) voice: Voice<'g>,
    /// The origin of the page the answer is for, if it may read it.
    pub(crate) page: Option<HeaderValue>,
    method: Method,
    uri: Uri,
}

impl<'g> Exchange<'g> {
    pub(crate) fn begin(gateway: &'g Gateway, head: &Parts, origin: &'g Origin) -> Exchange<'g> {
        Exchange {
            gateway,
            origin,
            id: String::new(),
            voice: Voice::Nobody(guess_protocol(head)),
            page: None,
            method: head.method.clone(),
            uri: head.uri.clone(),
        }
    }

    /// Gives the request its id, in the style of the service it is for.
    pub(crate) fn number(&mut self) {
        let style = match self.voice {
            Voice::Operations { entry, .. } => entry.ids,
            Voice::S3 => IdStyle::Short,
            Voice::Nobody(_) => IdStyle::Uuid,
        };
        self.id = style.make(&self.gateway.platform.random);
    }

    /// The request is for this service; words of refusal are its own from now on.
    pub(crate) fn address(&mut self, entry: &'g Entry, head: &Parts) {
        let guessed = guess_protocol(head);
        let speaks = entry.meta.protocols.contains(&guessed);
        // A query to a service that speaks JSON today gets its answer as a query.
        let protocol = match (speaks || guessed == Protocol::AwsQuery, entry.meta.protocols.first()) {
            (false, Some(first)) => *first,
            _ => guessed,
        };
        self.voice = Voice::Operations { entry, protocol, operation: None };
    }

    /// The context of the handler.
    pub(crate) fn context(&self, head: &Parts, caller: Caller) -> Cx {
        let platform = &self.gateway.platform;
        let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        let trace = head.headers.get("x-amzn-trace-id").and_then(|value| Trace::parse(value.to_str().ok()?));
        let request = Request {
            id: self.id.clone(),
            account: caller.account,
            region: caller.region,
            principal: caller.principal,
            trace: trace.unwrap_or_else(|| Trace::begin(platform.clock.now(), &platform.random)),
            source_ip: self.origin.source_ip.clone(),
            user_agent: text(header::USER_AGENT).unwrap_or_default().to_owned(),
            host: authority(head).to_owned(),
            secure: self.origin.secure,
        };
        Cx::new(platform.clone(), request)
    }

    /// The answer to a request that was refused or failed.
    pub(crate) fn refuse(&self, refusal: &Refusal) -> Response<AnswerBody> {
        self.log(refusal);
        match self.voice {
            Voice::S3 => {
                let host_id = ids::extended_id(&self.gateway.platform.random);
                answer::s3_error(refusal, self.uri.path(), &self.id, &host_id)
            }
            Voice::Operations { entry, protocol, operation } => {
                let encoded = tidemill_wire::encode_fault(
                    protocol,
                    entry.meta,
                    operation,
                    &worded(refusal, protocol),
                    &self.id,
                );
                answer::from_encoded(if entry.crc32 { encoded.with_crc32() } else { encoded })
            }
            Voice::Nobody(protocol) => {
                let fault = worded(refusal, protocol);
                answer::from_encoded(tidemill_wire::encode_fault(protocol, &NOBODY, None, &fault, &self.id))
            }
        }
    }

    /// Puts on what every answer carries.
    pub(crate) fn finish(self, mut response: Response<AnswerBody>) -> Response<AnswerBody> {
        let random = &self.gateway.platform.random;
        let date = ids::date(ids::wall_s(&self.gateway.platform.clock));
        let headers = response.headers_mut();
        headers.insert(header::DATE, date);
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            match self.voice {
                Voice::S3 => {
                    headers.entry(S3_REQUEST_ID).or_insert(id);
                    if !headers.contains_key(S3_HOST_ID)
                        && let Ok(host_id) = HeaderValue::from_str(&ids::extended_id(random))
                    {
                        headers.insert(S3_HOST_ID, host_id);
                    }
                }
                _ => drop(headers.insert(REQUEST_ID, id)),
            }
        }
        if let Some(page) = self.page {
            cors::allow(headers, page);
        }
        tracing::debug!(
            target: "tidemill::access",
            id = self.id,
            from = self.origin.source_ip,
            method = %self.method,
            path = self.uri.path(),
            service = self.voice.service(),
            operation = self.voice.operation(),
            status = response.status().as_u16(),
        );
        response
    }

    /// Failures of ours are logged, with what caused them; what callers do wrong is theirs to see.
    fn log(&self, refusal: &Refusal) {
        let Refusal::Fault(fault) = refusal else { return };
        let Some(cause) = fault.cause() else { return };
        let mut chain = cause.to_string();
        let mut next = cause.source();
        while let Some(deeper) = next.filter(|_| chain.len() < 4096) {
            chain.push_str(": ");
            chain.push_str(&deeper.to_string());
            next = deeper.source();
        }
        tracing::error!(
            id = self.id,
            service = self.voice.service(),
            operation = self.voice.operation(),
            cause = chain,
            "a request failed"
        );
    }
}

impl Voice<'_> {
    fn service(&self) -> &'static str {
        match self {
            Voice::Nobody(_) => "",
            Voice::Operations { entry, .. } => entry.meta.name,
            Voice::S3 => "s3",
        }
    }

    fn operation(&self) -> &'static str {
        match self {
            Voice::Operations { operation: Some(operation), .. } => operation.name,
            _ => "",
        }
    }
}

/// What a handler's panic becomes: a failure of ours, with its message in the log.
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Refusal {
    let message = match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .map_or_else(|| "without a message".to_owned(), |text| (*text).to_owned()),
    };
    Refusal::Fault(Fault::internal(format!("a handler panicked: {message}")))
}

/// `host[:port]` by which the caller reached us.
pub(crate) fn authority(head: &Parts) -> &str {
    let header = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    header.or_else(|| head.uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default()
}

/// The host alone, in lower case.
pub(crate) fn host_of(head: &Parts) -> std::borrow::Cow<'_, str> {
    host::without_port(authority(head))
}

/// The protocol a request most likely speaks, for words that must be said before its operation is known.
fn guess_protocol(head: &Parts) -> Protocol {
    let content_type =
        head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if head.headers.contains_key("smithy-protocol") {
        Protocol::RpcV2Cbor
    } else if content_type.starts_with("application/x-amz-json-1.1") {
        Protocol::AwsJson11
    } else if head.headers.contains_key("x-amz-target") || content_type.starts_with("application/x-amz-json")
    {
        Protocol::AwsJson10
    } else if content_type.starts_with("application/x-www-form-urlencoded")
        || head.uri.query().is_some_and(|query| query.contains("Action="))
    {
        Protocol::AwsQuery
    } else {
        Protocol::RestJson
    }
}

/// An error of authentication, as services of that protocol word it.
fn worded(refusal: &Refusal, protocol: Protocol) -> Fault {
    let error = match refusal {
        Refusal::Fault(fault) => return fault.clone(),
        Refusal::Auth(error) => error,
    };
    let family = match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 | Protocol::RpcV2Cbor => Family::Json,
        Protocol::RestJson => Family::RestJson,
        Protocol::AwsQuery | Protocol::RestXml => Family::Query,
    };
    Fault::new(error.code(family), error.message(family)).with_status(error.status(family))
}

/// Stands for the service of a request that names none we know.
static NOBODY: ServiceMeta = ServiceMeta {
    name: "",
    id: "",
    signing_name: "",
    endpoint_prefix: "",
    api_version: "",
    target_prefix: None,
    protocols: &[],
    xml_namespace: None,
    error_prefix: "",
    query_compatible: false,
    validation: Validation::Service,
    operations: &[],
    absent: &[],
};

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Full(bytes::Bytes::new()));
    *response.status_mut() = status;
    response
}
