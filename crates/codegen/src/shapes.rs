//! The types: structures, unions, enumerations and errors with their `read` and `write`; lists and maps as functions in
//! a module `collections`.

use std::{collections::BTreeSet, fmt::Write};

use tidemill_contract::ShapeInfo;

use crate::{
    names,
    types::{Types, element, key, message_member, value},
};

pub fn print(types: &Types) -> String {
    let mut out = String::new();
    for (name, shape) in types.contract.shapes.iter().filter(|(name, _)| types.is_generated(name)) {
        match (shape.kind.as_str(), shape.union) {
            ("structure", false) if !shape.eventstream => structure(&mut out, types, name, shape),
            ("structure", _) => union(&mut out, types, name, shape),
            _ => enumeration(&mut out, types, name, shape),
        }
        if shape.exception {
            error(&mut out, types, name, shape);
        }
    }
    collections(&mut out, types);
    out
}

fn structure(out: &mut String, types: &Types, name: &str, shape: &ShapeInfo) {
    let rust = types.name(name);
    let streams = shape.members.values().any(|m| types.shape(&m.shape).eventstream);
    let derives = if streams { "Debug, Default" } else { "Debug, Clone, Default, PartialEq" };
    let _ = writeln!(out, "#[derive({derives})]\npub struct {rust} {{");
    for (member, info) in &shape.members {
        let _ = writeln!(
            out,
            "    pub {}: {},",
            names::field(member),
            member_type(types, name, shape, member, &info.shape)
        );
    }
    out.push_str("}\n");
    structure_read(out, types, name, shape);
    structure_write(out, types, name, shape);
}

fn member_type(types: &Types, structure: &str, shape: &ShapeInfo, member: &str, target: &str) -> String {
    let mut rust = types.rust(target);
    if types.is_boxed(structure, member) {
        rust = format!("::std::boxed::Box<{rust}>");
    }
    if is_plain(types, shape, member, target) { rust } else { format!("::std::option::Option<{rust}>") }
}

/// Required members and event streams are there; everything else is optional.
fn is_plain(types: &Types, shape: &ShapeInfo, member: &str, target: &str) -> bool {
    shape.required.iter().any(|r| r == member) || types.shape(target).eventstream
}

fn structure_read(out: &mut String, types: &Types, name: &str, shape: &ShapeInfo) {
    let rust = types.name(name);
    let schema = types.schema(name);
    let readable = shape.members.values().any(|m| !types.shape(&m.shape).eventstream);
    let mutable = if readable { "mut " } else { "" };
    let _ = writeln!(
        out,
        "impl ::tidemill_api::Shape for {rust} {{\n    fn schema() -> &'static ::tidemill_api::Schema {{ &{schema} }}\n    fn read(r: &mut dyn ::tidemill_api::Reader) -> ::std::result::Result<Self, ::tidemill_api::ReadError> {{\n        let {mutable}v = Self::default();\n        r.begin_structure(&{schema})?;\n        while let ::std::option::Option::Some(at) = r.next_member()? {{\n            match at {{"
    );
    for (at, (member, info)) in shape.members.iter().enumerate() {
        if types.shape(&info.shape).eventstream {
            continue;
        }
        let mut read = types.read(&info.shape);
        if types.is_boxed(name, member) {
            read = format!("::std::boxed::Box::new({read})");
        }
        if !is_plain(types, shape, member, &info.shape) {
            read = format!("::std::option::Option::Some({read})");
        }
        let _ = writeln!(out, "                {at} => v.{} = {read},", names::field(member));
    }
    out.push_str(
        "                _ => {}\n            }\n        }\n        ::std::result::Result::Ok(v)\n    }\n}\n",
    );
}

fn structure_write(out: &mut String, types: &Types, name: &str, shape: &ShapeInfo) {
    let rust = types.name(name);
    let schema = types.schema(name);
    let _ = writeln!(
        out,
        "impl ::tidemill_api::WriteShape for {rust} {{\n    fn write(&self, w: &mut dyn ::tidemill_api::Writer) {{\n        w.begin_structure(&{schema});"
    );
    for (at, (member, info)) in shape.members.iter().enumerate() {
        let field = names::field(member);
        let deref = if types.is_boxed(name, member) { "&**" } else { "" };
        if is_plain(types, shape, member, &info.shape) {
            let of = if deref.is_empty() { format!("&self.{field}") } else { format!("&*self.{field}") };
            let _ = writeln!(
                out,
                "        w.member(&{schema}.members[{at}]); {}",
                types.write(&info.shape, &wrap(&of))
            );
        } else {
            let of = if deref.is_empty() { "x".to_string() } else { "(&**x)".to_string() };
            let _ = writeln!(
                out,
                "        if let ::std::option::Option::Some(x) = &self.{field} {{ w.member(&{schema}.members[{at}]); {} }}",
                types.write(&info.shape, &of)
            );
        }
    }
    out.push_str("        w.end_structure();\n    }\n}\n");
}

fn wrap(expression: &str) -> String {
    format!("({expression})")
}

fn union(out: &mut String, types: &Types, name: &str, shape: &ShapeInfo) {
    let rust = types.name(name);
    let schema = types.schema(name);
    let _ = writeln!(out, "#[derive(Debug, Clone, Default, PartialEq)]\npub enum {rust} {{");
    for (member, info) in &shape.members {
        let boxed = types.is_boxed(name, member);
        let target = types.rust(&info.shape);
        let target = if boxed { format!("::std::boxed::Box<{target}>") } else { target };
        let _ = writeln!(out, "    {}({target}),", names::variant(member));
    }
    out.push_str("    /// No member was set.\n    #[default]\n    Unset,\n}\n");
    let _ = writeln!(
        out,
        "impl ::tidemill_api::Shape for {rust} {{\n    fn schema() -> &'static ::tidemill_api::Schema {{ &{schema} }}\n    fn read(r: &mut dyn ::tidemill_api::Reader) -> ::std::result::Result<Self, ::tidemill_api::ReadError> {{\n        let mut v = Self::Unset;\n        r.begin_structure(&{schema})?;\n        while let ::std::option::Option::Some(at) = r.next_member()? {{\n            match at {{"
    );
    for (at, (member, info)) in shape.members.iter().enumerate() {
        let read = types.read(&info.shape);
        let read =
            if types.is_boxed(name, member) { format!("::std::boxed::Box::new({read})") } else { read };
        let _ = writeln!(out, "                {at} => v = Self::{}({read}),", names::variant(member));
    }
    let _ = writeln!(
        out,
        "                _ => {{}}\n            }}\n        }}\n        ::std::result::Result::Ok(v)\n    }}\n}}\nimpl ::tidemill_api::WriteShape for {rust} {{\n    fn write(&self, w: &mut dyn ::tidemill_api::Writer) {{\n        w.begin_structure(&{schema});\n        match self {{"
    );
    for (at, (member, info)) in shape.members.iter().enumerate() {
        let of = if types.is_boxed(name, member) { "(&**x)" } else { "x" };
        let _ = writeln!(
            out,
            "            Self::{}(x) => {{ w.member(&{schema}.members[{at}]); {} }}",
            names::variant(member),
            types.write(&info.shape, of)
        );
    }
    out.push_str("            Self::Unset => {}\n        }\n        w.end_structure();\n    }\n}\n");
}

fn enumeration(out: &mut String, types: &Types, name: &str, shape: &ShapeInfo) {
    let rust = types.name(name);
    let mut taken = BTreeSet::new();
    let variants: Vec<(String, &String)> = shape
        .values
        .iter()
        .map(|value| {
            let mut variant = names::variant(value);
            while !taken.insert(variant.clone()) {
                variant.push('_');
            }
            (variant, value)
        })
        .collect();
    let _ = writeln!(
        out,
        "#[allow(non_camel_case_types)]\n#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]\npub enum {rust} {{"
    );
    for (at, (variant, value)) in variants.iter().enumerate() {
        let default = if at == 0 { "    #[default]\n" } else { "" };
        let _ = writeln!(out, "    /// `{}`\n{default}    {variant},", value.replace('`', "'"));
    }
    out.push_str("    /// A value the contract does not list.\n    Other(::std::string::String),\n}\n");
    let _ = writeln!(
        out,
        "impl {rust} {{\n    /// As AWS writes it.\n    pub fn as_str(&self) -> &str {{\n        match self {{"
    );
    for (variant, value) in &variants {
        let _ = writeln!(out, "            Self::{variant} => {value:?},");
    }
    out.push_str("            Self::Other(other) => other,\n        }\n    }\n}\n");
    let _ = writeln!(
        out,
        "impl ::std::convert::From<&str> for {rust} {{\n    fn from(text: &str) -> Self {{\n        match text {{"
    );
    for (variant, value) in &variants {
        let _ = writeln!(out, "            {value:?} => Self::{variant},");
    }
    let _ = writeln!(
        out,
        "            other => Self::Other(other.to_string()),\n        }}\n    }}\n}}\nimpl ::std::convert::From<::std::string::String> for {rust} {{\n    fn from(text: ::std::string::String) -> Self {{ Self::from(text.as_str()) }}\n}}\nimpl ::std::fmt::Display for {rust} {{\n    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {{ f.write_str(self.as_str()) }}\n}}"
    );
}

fn error(out: &mut String, types: &Types, name: &str, shape: &ShapeInfo) {
    let rust = types.name(name);
    let Some(member) = message_member(shape) else { return };
    let required = shape.required.contains(member);
    let field = names::field(member);
    let (set, get) = if required {
        ("message.into()".to_string(), format!("error.{field}.clone()"))
    } else {
        (
            "::std::option::Option::Some(message.into())".to_string(),
            format!("error.{field}.clone().unwrap_or_default()"),
        )
    };
    let rest = if shape.members.len() > 1 { ", ..Self::default()" } else { "" };
    let _ = writeln!(
        out,
        "impl {rust} {{\n    /// The error with its sentence; further members keep their defaults.\n    pub fn new(message: impl ::std::convert::Into<::std::string::String>) -> Self {{\n        Self {{ {field}: {set}{rest} }}\n    }}\n}}\nimpl ::std::convert::From<{rust}> for ::tidemill_api::Fault {{\n    fn from(error: {rust}) -> Self {{\n        static TRAITS: ::tidemill_api::ErrorTraits = ::tidemill_api::{};\n        let message = {get};\n        ::tidemill_api::Fault::of_shape(&TRAITS, message, error)\n    }}\n}}",
        crate::tables::error_traits(name, shape)
    );
}

fn collections(out: &mut String, types: &Types) {
    out.push_str("#[allow(clippy::all, dead_code)]\nmod collections {\n    use super::*;\n");
    for (name, shape) in types.contract.shapes.iter().filter(|(_, s)| s.rust.is_none()) {
        match shape.kind.as_str() {
            "list" => list(out, types, name, shape),
            "map" => map(out, types, name, shape),
            _ => {}
        }
    }
    out.push_str("}\n\n");
}

fn list(out: &mut String, types: &Types, name: &str, shape: &ShapeInfo) {
    let (rust, schema, function) =
        (types.rust(name), types.schema(name), types.constant(name).to_lowercase());
    let of = element(shape);
    let _ = writeln!(
        out,
        "    pub fn read_{function}(r: &mut dyn ::tidemill_api::Reader) -> ::std::result::Result<{rust}, ::tidemill_api::ReadError> {{\n        let mut list = ::std::vec::Vec::new();\n        r.begin_list(&{schema})?;\n        while r.next_element()? {{ list.push({}); }}\n        ::std::result::Result::Ok(list)\n    }}",
        types.read(of)
    );
    let _ = writeln!(
        out,
        "    pub fn write_{function}(list: &[{}], w: &mut dyn ::tidemill_api::Writer) {{\n        w.begin_list(&{schema}, list.len());\n        for x in list {{ w.element(); {} }}\n        w.end_list();\n    }}",
        types.rust(of),
        types.write(of, "x")
    );
}

fn map(out: &mut String, types: &Types, name: &str, shape: &ShapeInfo) {
    let (rust, schema, function) =
        (types.rust(name), types.schema(name), types.constant(name).to_lowercase());
    let enumerated = !types.shape(key(shape)).values.is_empty();
    let (read_key, write_key) = if enumerated { ("key.into()", "key.as_str()") } else { ("key", "key") };
    let _ = writeln!(
        out,
        "    pub fn read_{function}(r: &mut dyn ::tidemill_api::Reader) -> ::std::result::Result<{rust}, ::tidemill_api::ReadError> {{\n        let mut map = ::std::collections::BTreeMap::new();\n        r.begin_map(&{schema})?;\n        while let ::std::option::Option::Some(key) = r.next_key()? {{ let x = {}; map.insert({read_key}, x); }}\n        ::std::result::Result::Ok(map)\n    }}",
        types.read(value(shape))
    );
    let _ = writeln!(
        out,
        "    pub fn write_{function}(map: &{rust}, w: &mut dyn ::tidemill_api::Writer) {{\n        w.begin_map(&{schema}, map.len());\n        for (key, x) in map {{ w.key({write_key}); {} }}\n        w.end_map();\n    }}",
        types.write(value(shape), "x")
    );
}
