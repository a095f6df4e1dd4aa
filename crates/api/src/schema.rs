//! The static tables that generated code carries: what a shape is called, what it holds and what AWS demands of it.
//!
//! Tables are `static`, so shapes may refer to each other in circles. Codecs (crate `wire`) are driven by them.

use std::sync::OnceLock;

use crate::{Reader, Shape};

/// One shape of a contract.
#[derive(Debug)]
pub struct Schema {
    /// The shape's name as AWS writes it, such as `SendMessageRequest`.
    pub name: &'static str,
    pub kind: Kind,
    /// Structure and union: the members in the contract's order. List: one, called `member`. Map: two, `key` and
    /// `value`. Otherwise empty.
    pub members: &'static [Member],
    /// Smallest length (strings, blobs, lists, maps) or value (numbers).
    pub min: Option<f64>,
    /// Largest length or value.
    pub max: Option<f64>,
    /// The regular expression a string must match whole, as AWS prints it.
    pub pattern: Option<&'static str>,
    /// The values of an enumeration in the order AWS prints them; empty when the string is free.
    pub values: &'static [&'static str],
    /// The shape itself says that its elements are not wrapped (query and XML protocols).
    pub flattened: bool,
    /// The value must not be logged or echoed.
    pub sensitive: bool,
    pub time_format: Option<TimeFormat>,
    /// Index of the member that is the HTTP payload (REST protocols).
    pub payload: Option<usize>,
    /// `locationName` of the shape: the root element's name (REST-XML).
    pub wire: Option<&'static str>,
    /// XML namespace URI of the shape.
    pub xml_namespace: Option<&'static str>,
    /// The structure is an event stream: a union of events.
    pub event_stream: bool,
    /// The structure is an error.
    pub error: Option<ErrorTraits>,
}

impl Schema {
    /// A free shape of this kind without members or constraints; generated tables fill in the rest.
    pub const fn plain(name: &'static str, kind: Kind) -> Schema {
        Schema {
            name,
            kind,
            members: &[],
            min: None,
            max: None,
            pattern: None,
            values: &[],
            flattened: false,
            sensitive: false,
            time_format: None,
            payload: None,
            wire: None,
            xml_namespace: None,
            event_stream: false,
            error: None,
        }
    }

    /// The index of the member that a JSON, CBOR or XML document calls `wire`.
    pub fn member_by_wire(&self, wire: &str) -> Option<usize> {
        self.members.iter().position(|m| m.wire == wire)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Structure,
    /// A structure of which exactly one member is set.
    Union,
    List,
    Map,
    String,
    Boolean,
    Integer,
    Long,
    Float,
    Double,
    Blob,
    Timestamp,
    /// Any JSON value.
    Document,
}

/// One member of a structure, or the element of a list, or the key or value of a map.
#[derive(Debug)]
pub struct Member {
    /// As AWS's model writes it.
    pub name: &'static str,
    /// As it stands on the wire: `locationName` where there is one, otherwise `name`. For [`At::Headers`] the prefix.
    pub wire: &'static str,
    /// Whether `wire` came from an explicit `locationName`.
    pub named: bool,
    pub at: At,
    pub required: bool,
    pub flattened: bool,
    /// An XML attribute of the parent element.
    pub xml_attribute: bool,
    /// XML namespace declared on the member: (prefix, URI); the prefix is empty for the default namespace.
    pub xml_namespace: Option<(&'static str, &'static str)>,
    pub time_format: Option<TimeFormat>,
    /// The SDK fills it with a fresh UUID when absent.
    pub idempotency_token: bool,
    /// The member is an unbounded body.
    pub streaming: bool,
    /// Event-stream event: the member is the event's payload.
    pub event_payload: bool,
    /// Event-stream event: the member is a header of the event.
    pub event_header: bool,
    /// JSON text carried in a string (a base64 header in REST protocols).
    pub json_value: bool,
    pub target: Target,
}

impl Member {
    pub fn schema(&self) -> &'static Schema {
        match &self.target {
            Target::Of(schema) => schema,
            Target::Late(cell) => cell.get().copied().unwrap_or(&UNSET),
        }
    }

    /// The format of a timestamp member: its own, else its shape's.
    pub fn time_format(&self) -> Option<TimeFormat> {
        self.time_format.or(self.schema().time_format)
    }
}

/// What a member holds.
#[derive(Debug)]
pub enum Target {
    Of(&'static Schema),
    /// For schemas put together while running, which may be recursive: filled in before first use.
    Late(&'static OnceLock<&'static Schema>),
}

static UNSET: Schema = Schema::plain("Unset", Kind::Document);

/// Where a member stands in the HTTP message (REST protocols); everything else is `Body`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Body,
    Uri,
    Query,
    Header,
    /// All headers that begin with the member's `wire`.
    Headers,
    StatusCode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2015-08-30T12:36:00Z`
    Iso8601,
    /// `Sun, 30 Aug 2015 12:36:00 GMT`
    Rfc822,
    /// Seconds since 1970, with a fraction where there is one.
    UnixTimestamp,
}

#[derive(Debug, Clone, Copy)]
pub struct ErrorTraits {
    /// The code on the wire (`error.code` in the model, else the shape's name).
    pub code: &'static str,
    /// The code of the older query protocol where a JSON service keeps it (`x-amzn-query-error`).
    pub query_code: Option<&'static str>,
    pub status: u16,
    /// The caller is to blame (4xx); otherwise the service is.
    pub sender: bool,
}

/// One operation: the type that stands for it in a service's table.
pub trait Operation: Send + Sync + 'static {
    const META: &'static OperationMeta;
    type Input: Shape + Send + 'static;
    type Output: Shape + Send + 'static;
}

#[derive(Debug)]
pub struct OperationMeta {
    /// As AWS writes it, such as `ReceiveMessage`.
    pub name: &'static str,
    pub method: &'static str,
    /// The path template of REST protocols, such as `/2015-03-31/functions/{FunctionName}`; `/` elsewhere. May carry
    /// a fixed query string.
    pub uri: &'static str,
    /// The status of a successful answer.
    pub status: u16,
    pub input: &'static Schema,
    pub output: &'static Schema,
    /// The element that wraps the result (query protocol), such as `SendMessageResult`.
    pub result_wrapper: Option<&'static str>,
    /// `none` where a caller needs no signature (STS's AssumeRoleWithWebIdentity and such).
    pub auth: Option<&'static str>,
    /// The names of the errors the operation may answer.
    pub errors: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    AwsJson10,
    AwsJson11,
    AwsQuery,
    RestJson,
    RestXml,
    RpcV2Cbor,
}

/// What a contract says of a service as a whole.
#[derive(Debug)]
pub struct ServiceMeta {
    /// Our name of it, which is also the folder's: `sqs`, `dynamodb`, `logs`.
    pub name: &'static str,
    /// `serviceId` of the model: `SQS`, `DynamoDB Streams`.
    pub id: &'static str,
    /// The service name in signatures: `sqs`, `dynamodb`.
    pub signing_name: &'static str,
    pub endpoint_prefix: &'static str,
    /// `2012-11-05`
    pub api_version: &'static str,
    /// What `X-Amz-Target` begins with: `AmazonSQS`.
    pub target_prefix: Option<&'static str>,
    /// Spoken protocols, the preferred one first.
    pub protocols: &'static [Protocol],
    pub xml_namespace: Option<&'static str>,
    /// What stands before an error's name in `__type`: `com.amazonaws.sqs#`; empty where AWS prints the bare name.
    pub error_prefix: &'static str,
    /// Answers carry `x-amzn-query-error` and queries get the older codes.
    pub query_compatible: bool,
    /// How validation failures are worded; see `wire::validate`.
    pub validation: Validation,
    pub operations: &'static [&'static OperationMeta],
    /// Operations AWS has and we do not implement; they answer `NotImplemented`. Names, followed by method and URI where
    /// the service is known by those (`CreateCapacityProvider POST /2025-11-30/capacity-providers`).
    pub absent: &'static [&'static str],
}

/// The dialect of a service's validation errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validation {
    /// `1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null` as a
    /// `ValidationException` (400).
    Coral,
    /// The same sentences under the code `ValidationError` (query services).
    CoralQuery,
    /// Only types are checked; the service words the rest itself.
    Service,
}

/// Reads a value of a shape that stands behind a `Box` (recursive structures).
pub fn read_boxed<T: Shape>(reader: &mut dyn Reader) -> Result<Box<T>, crate::ReadError> {
    T::read(reader).map(Box::new)
}
