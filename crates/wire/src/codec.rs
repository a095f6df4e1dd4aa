//! One door to all protocols: `reader` and `decode` for requests, `encode` and `encode_fault` for answers.

use tidemill_api::{Fault, OperationMeta, Protocol, ReadError, Reader, ServiceMeta, Validation, WriteShape};

use crate::{
    Dynamic, Encoded, Incoming, aws_json, aws_query, fault, rest, rpc_cbor,
    validate::{self, Dialect, Validating},
};

/// Reads an operation's input out of a request and checks every constraint of the contract.
///
/// `read` is the generated `Input::read`. Malformed bytes answer the protocol's serialization error, broken
/// constraints one `ValidationException` that lists them all. A service that words its own checks
/// ([`Validation::Service`]) gets only types checked.
pub fn decode<T>(
    protocol: Protocol,
    service: &ServiceMeta,
    operation: &OperationMeta,
    incoming: &Incoming,
    read: impl FnOnce(&mut dyn Reader) -> Result<T, ReadError>,
) -> Result<T, Fault> {
    let mut source = reader(protocol, operation, incoming).map_err(|error| read_fault(protocol, &error))?;
    if service.validation == Validation::Service {
        return read(&mut *source).map_err(|error| read_fault(protocol, &error));
    }
    let mut validating = Validating::new(&mut *source);
    let outcome = read(&mut validating);
    match outcome {
        Ok(input) if validating.holds() => Ok(input),
        Ok(input) => match explain(protocol, service, operation, incoming) {
            Some(fault) => Err(fault),
            None => Ok(input),
        },
        // A hand-written shape refused a value; AWS reports the contract's violations before that.
        Err(error) if error.code.is_some() => {
            Err(explain(protocol, service, operation, incoming)
                .unwrap_or_else(|| read_fault(protocol, &error)))
        }
        Err(error) => Err(read_fault(protocol, &error)),
    }
}

/// Reads the request again, as a tree this time, to word what is wrong with it. Bad requests are rare enough.
fn explain(
    protocol: Protocol,
    service: &ServiceMeta,
    operation: &OperationMeta,
    incoming: &Incoming,
) -> Option<Fault> {
    let mut source = reader(protocol, operation, incoming).ok()?;
    let input = Dynamic::read(operation.input, &mut *source).ok()?;
    validate::explain(&input, Dialect::of(service))
}

/// A reader of an operation's input; its first call is to be `begin_structure(operation.input)`.
pub fn reader<'a>(
    protocol: Protocol,
    operation: &OperationMeta,
    incoming: &'a Incoming<'a>,
) -> Result<Box<dyn Reader + 'a>, ReadError> {
    Ok(match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => Box::new(aws_json::reader(&incoming.body)?),
        Protocol::AwsQuery => Box::new(aws_query::reader(incoming)?),
        Protocol::RestJson => Box::new(rest::json_reader(operation, incoming)?),
        Protocol::RestXml => Box::new(rest::xml_reader(operation, incoming)?),
        Protocol::RpcV2Cbor => Box::new(rpc_cbor::reader(&incoming.body)),
    })
}

/// The answer of an operation that succeeded.
pub fn encode(
    protocol: Protocol,
    service: &ServiceMeta,
    operation: &OperationMeta,
    output: &dyn WriteShape,
    request_id: &str,
) -> Encoded {
    match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => aws_json::encode(protocol, output, request_id),
        Protocol::AwsQuery => aws_query::encode(service, operation, output, request_id),
        Protocol::RestJson => rest::encode_json(operation, output, request_id),
        Protocol::RestXml => rest::encode_xml(service, operation, output, request_id),
        Protocol::RpcV2Cbor => rpc_cbor::encode(operation, output, request_id),
    }
}

/// The answer of an operation that failed, or of a request that reached none. The operation is known where there was
/// one; no protocol prints anything of it today.
pub fn encode_fault(
    protocol: Protocol,
    service: &ServiceMeta,
    _operation: Option<&OperationMeta>,
    fault: &Fault,
    request_id: &str,
) -> Encoded {
    fault::encode(protocol, service, fault, request_id)
}

/// How a protocol words that it cannot read a message.
pub fn read_fault(protocol: Protocol, error: &ReadError) -> Fault {
    let usual = match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 | Protocol::RestJson | Protocol::RpcV2Cbor => {
            "SerializationException"
        }
        Protocol::AwsQuery => "MalformedInput",
        Protocol::RestXml => "MalformedXML",
    };
    let message = match protocol {
        Protocol::RestJson if error.message.is_empty() => "Could not parse request body into json",
        _ => &error.message,
    };
    Fault::new(error.code.unwrap_or(usual), message.to_string())
}
