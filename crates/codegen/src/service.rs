//! The operations (module `op`) and the service's description (`SERVICE`).

use std::fmt::Write;

use tidemill_contract::{Contract, OperationInfo, ServiceInfo};

use crate::{names, types::Types};

pub fn print(types: &Types) -> String {
    let mut out = operations(types);
    out += &service(types.contract);
    out
}

fn operations(types: &Types) -> String {
    let mut out = String::from("/// One type an operation, for the service's table.\npub mod op {\n");
    for (name, operation) in &types.contract.operations {
        let rust = names::type_name(name);
        let _ = writeln!(
            out,
            "    #[derive(Debug, Clone, Copy)]\n    pub struct {rust};\n    impl ::tidemill_api::Operation for {rust} {{\n        const META: &'static ::tidemill_api::OperationMeta = &super::meta::{};\n        type Input = {};\n        type Output = {};\n    }}",
            names::constant(name),
            side(types, operation.input.as_deref()),
            side(types, operation.output.as_deref())
        );
    }
    out += "}\n\n/// What AWS says of each operation.\npub mod meta {\n    use super::schema;\n";
    for (name, operation) in &types.contract.operations {
        out += &meta(types, name, operation);
    }
    out + "}\n\n"
}

fn side(types: &Types, shape: Option<&str>) -> String {
    shape.map_or("::tidemill_api::Unit".into(), |shape| format!("super::{}", types.name(shape)))
}

fn meta(types: &Types, name: &str, operation: &OperationInfo) -> String {
    let schema = |shape: &Option<String>| {
        shape.as_ref().map_or("::tidemill_api::unit::SCHEMA".into(), |s| types.schema(s))
    };
    format!(
        "    pub static {}: ::tidemill_api::OperationMeta = ::tidemill_api::OperationMeta {{ name: {name:?}, method: {:?}, uri: {:?}, status: {}, input: &{}, output: &{}, result_wrapper: {:?}, auth: {:?}, errors: &{:?} }};\n",
        names::constant(name),
        operation.http.method,
        operation.http.request_uri,
        operation.http.response_code.unwrap_or(200),
        schema(&operation.input),
        schema(&operation.output),
        operation.result_wrapper,
        operation.authtype,
        operation.errors,
    )
}

fn service(contract: &Contract) -> String {
    let service = &contract.service;
    let operations: Vec<String> =
        contract.operations.keys().map(|name| format!("&meta::{}", names::constant(name))).collect();
    format!(
        "/// The service as a whole.\npub static SERVICE: ::tidemill_api::ServiceMeta = ::tidemill_api::ServiceMeta {{ name: {:?}, id: {:?}, signing_name: {:?}, endpoint_prefix: {:?}, api_version: {:?}, target_prefix: {:?}, protocols: &[{}], xml_namespace: {:?}, error_prefix: {:?}, query_compatible: {}, validation: ::tidemill_api::Validation::{}, operations: &[{}], absent: &{:?} }};\n",
        service.name,
        service.service_id,
        service.signing_name,
        service.endpoint_prefix,
        service.api_version,
        service.target_prefix,
        protocols(service),
        service.xml_namespace,
        service.error_prefix,
        service.query_compatible,
        validation(service),
        operations.join(", "),
        contract.absent,
    )
}

fn protocols(service: &ServiceInfo) -> String {
    let of = |name: &String| match (name.as_str(), service.json_version.as_deref()) {
        ("json", Some("1.1")) => "AwsJson11",
        ("json", _) => "AwsJson10",
        ("query", _) => "AwsQuery",
        ("rest-json", _) => "RestJson",
        ("rest-xml", _) => "RestXml",
        ("smithy-rpc-v2-cbor", _) => "RpcV2Cbor",
        (other, _) => panic!("{}: unknown protocol {other}", service.name),
    };
    service
        .protocols
        .iter()
        .map(|name| format!("::tidemill_api::Protocol::{}", of(name)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn validation(service: &ServiceInfo) -> &'static str {
    let query_first = service.protocols.first().is_some_and(|p| p == "query");
    match service.validation.as_deref() {
        Some("coral-query") => "CoralQuery",
        Some("service") => "Service",
        None if query_first => "CoralQuery",
        _ => "Coral",
    }
}
