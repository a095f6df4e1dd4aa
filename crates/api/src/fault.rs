//! An error on its way to the caller: AWS's code, sentence and status, plus the members some errors carry.
//!
//! Generated error structs convert into it, so handlers write `Err(QueueDoesNotExist::new("…"))?`. The wire form is
//! the codec's business.

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

use crate::{ErrorTraits, WriteShape};

/// What an operation answers when it does not succeed. Cheap to move; clones share their parts.
#[derive(Clone)]
pub struct Fault(Box<Parts>);

#[derive(Clone)]
struct Parts {
    code: Cow<'static, str>,
    query_code: Option<&'static str>,
    message: Cow<'static, str>,
    status: u16,
    sender: Sender,
    detail: Option<Arc<dyn WriteShape>>,
    headers: Vec<(&'static str, String)>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// Who is to blame, as query protocols print it in `<Type>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The caller (4xx).
    Sender,
    /// The service (5xx).
    Receiver,
}

impl Fault {
    /// A fault of the caller with status 400.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Fault {
        Fault(Box::new(Parts {
            code: code.into(),
            query_code: None,
            message: message.into(),
            status: 400,
            sender: Sender::Sender,
            detail: None,
            headers: Vec::new(),
            source: None,
        }))
    }

    /// A fault made from an error shape: its traits give code, status and blame; `detail` writes all its members.
    pub fn of_shape(
        traits: &'static ErrorTraits,
        message: impl Into<Cow<'static, str>>,
        detail: impl WriteShape + 'static,
    ) -> Fault {
        let mut fault = Fault::new(traits.code, message).with_status(traits.status);
        fault.0.query_code = traits.query_code;
        fault.0.detail = Some(Arc::new(detail));
        fault
    }

    /// Our own fault: the caller learns only that it happened; `source` is for the log.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Fault {
        let mut fault = Fault::new(
            "InternalFailure",
            "The request processing has failed because of an unknown error, exception or failure.",
        )
        .with_status(500);
        fault.0.source = Some(Arc::from(source.into()));
        fault
    }

    /// An operation or option that Tidemill does not have (501), named so that a person knows what to do without.
    pub fn not_implemented(what: impl fmt::Display) -> Fault {
        Fault::new("NotImplemented", format!("Tidemill does not implement {what} yet.")).with_status(501)
    }

    /// The request breaks a rule the contract cannot express.
    pub fn validation(message: impl Into<Cow<'static, str>>) -> Fault {
        Fault::new("ValidationException", message)
    }

    /// Sets the HTTP status and with it who is to blame.
    pub fn with_status(mut self, status: u16) -> Fault {
        self.0.status = status;
        self.0.sender = if status >= 500 { Sender::Receiver } else { Sender::Sender };
        self
    }

    /// Adds a header to the answer, such as `Retry-After` or `x-amz-bucket-region`.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Fault {
        self.0.headers.push((name, value.into()));
        self
    }

    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The code that the older query protocol used, where it differs.
    pub fn query_code(&self) -> Option<&'static str> {
        self.0.query_code
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn status(&self) -> u16 {
        self.0.status
    }

    pub fn sender(&self) -> Sender {
        self.0.sender
    }

    /// The error's members beyond code and message, as a structure.
    pub fn detail(&self) -> Option<&dyn WriteShape> {
        self.0.detail.as_deref()
    }

    pub fn headers(&self) -> &[(&'static str, String)] {
        &self.0.headers
    }

    /// What caused a fault of our own; for the log, never for the caller.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync)> {
        self.0.source.as_deref()
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({} {}: {:?}", self.0.status, self.0.code, self.0.message)?;
        if let Some(source) = &self.0.source {
            write!(f, " because {source}")?;
        }
        f.write_str(")")
    }
}

/// For logs and the fate ledger: with the cause of an internal fault, which answers never carry.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)?;
        match &self.0.source {
            Some(cause) => write!(f, " because {cause}"),
            None => Ok(()),
        }
    }
}

impl Error for Fault {}
