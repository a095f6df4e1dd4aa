//! The static schemas: one table a shape, in a module `schema`.

use tidemill_contract::{MemberRef, ShapeInfo};

use crate::types::Types;

pub fn print(types: &Types) -> String {
    let mut out = String::from(
        "/// What AWS says of each shape.\n#[allow(clippy::all)]\npub mod schema {\n    use ::tidemill_api::{At, ErrorTraits, Kind, Member, Schema, Target, TimeFormat};\n",
    );
    for (name, shape) in &types.contract.shapes {
        out += &table(types, name, shape);
    }
    out + "}\n\n"
}

fn table(types: &Types, name: &str, shape: &ShapeInfo) -> String {
    let members: Vec<String> = match shape.kind.as_str() {
        "list" => shape.member.iter().map(|m| member(types, shape, "member", m)).collect(),
        "map" => shape
            .key
            .iter()
            .map(|m| member(types, shape, "key", m))
            .chain(shape.value.iter().map(|m| member(types, shape, "value", m)))
            .collect(),
        _ => shape.members.iter().map(|(name, m)| member(types, shape, name, m)).collect(),
    };
    let mut fields = vec![format!("members: &[{}]", members.join(", "))];
    fields.extend(shape.min.map(|n| format!("min: Some({n:?}f64)")));
    fields.extend(shape.max.map(|n| format!("max: Some({n:?}f64)")));
    fields.extend(shape.pattern.as_ref().map(|p| format!("pattern: Some({p:?})")));
    if !shape.values.is_empty() && !shape.open {
        fields.push(format!("values: &{:?}", shape.values));
    }
    for (on, field) in
        [(shape.flattened, "flattened"), (shape.sensitive, "sensitive"), (shape.eventstream, "event_stream")]
    {
        if on {
            fields.push(format!("{field}: true"));
        }
    }
    fields.extend(shape.timestamp_format.as_ref().map(|f| format!("time_format: {}", time_format(Some(f)))));
    if let Some(at) = shape.payload.as_ref().and_then(|p| shape.members.get_index_of(p)) {
        fields.push(format!("payload: Some({at})"));
    }
    fields.extend(shape.location_name.as_ref().map(|w| format!("wire: Some({w:?})")));
    fields.extend(shape.xml_namespace.as_ref().map(|x| format!("xml_namespace: Some({:?})", x.uri())));
    if shape.exception {
        fields.push(format!("error: Some({})", error_traits(name, shape)));
    }
    format!(
        "    pub static {}: Schema = Schema {{ {}, ..Schema::plain({name:?}, Kind::{}) }};\n",
        types.constant(name),
        fields.join(", "),
        kind(shape)
    )
}

fn kind(shape: &ShapeInfo) -> &'static str {
    match shape.kind.as_str() {
        "structure" if shape.document => "Document",
        "structure" if shape.union => "Union",
        "structure" => "Structure",
        "list" => "List",
        "map" => "Map",
        "boolean" => "Boolean",
        "integer" => "Integer",
        "long" => "Long",
        "float" => "Float",
        "double" => "Double",
        "blob" => "Blob",
        "timestamp" => "Timestamp",
        _ => "String",
    }
}

fn member(types: &Types, parent: &ShapeInfo, name: &str, member: &MemberRef) -> String {
    let at = match member.location.as_deref() {
        Some("uri") => "Uri",
        Some("querystring") => "Query",
        Some("header") => "Header",
        Some("headers") => "Headers",
        Some("statusCode") => "StatusCode",
        _ => "Body",
    };
    let namespace = match &member.xml_namespace {
        Some(x) => format!("Some(({:?}, {:?}))", x.prefix(), x.uri()),
        None => "None".into(),
    };
    format!(
        "Member {{ name: {name:?}, wire: {:?}, named: {}, at: At::{at}, required: {}, flattened: {}, xml_attribute: {}, xml_namespace: {namespace}, time_format: {}, idempotency_token: {}, streaming: {}, event_payload: {}, event_header: {}, json_value: {}, target: Target::Of(&{}) }}",
        member.location_name.as_deref().unwrap_or(name),
        member.location_name.is_some(),
        parent.required.iter().any(|r| r == name),
        member.flattened || types.shape(&member.shape).flattened,
        member.xml_attribute,
        time_format(member.timestamp_format.as_deref()),
        member.idempotency_token,
        member.streaming || types.shape(&member.shape).streaming,
        member.eventpayload,
        member.eventheader,
        member.jsonvalue,
        types.constant(&member.shape),
    )
}

fn time_format(format: Option<&str>) -> &'static str {
    match format {
        Some("iso8601") => "Some(TimeFormat::Iso8601)",
        Some("rfc822") => "Some(TimeFormat::Rfc822)",
        Some("unixTimestamp") => "Some(TimeFormat::UnixTimestamp)",
        _ => "None",
    }
}

/// Where the model is silent an error of the caller is 400 and one of the service 500, as the protocols have it.
pub fn error_traits(name: &str, shape: &ShapeInfo) -> String {
    let info = shape.error.clone().unwrap_or_default();
    let status = info.http_status_code.unwrap_or(if shape.fault { 500 } else { 400 });
    format!(
        "ErrorTraits {{ code: {:?}, query_code: {:?}, status: {status}, sender: {} }}",
        info.code.as_deref().unwrap_or(name),
        info.query_code,
        status < 500
    )
}
