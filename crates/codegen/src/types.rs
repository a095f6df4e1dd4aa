//! Which Rust type stands for a shape, and how a value of it is read and written.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_contract::{Contract, MemberRef, ShapeInfo};

use crate::names;

/// Gives every error a message member, as AWS's JSON errors have one even where the model lacks it.
pub fn normalise(mut contract: Contract) -> Contract {
    let text = contract
        .shapes
        .iter()
        .find(|(_, s)| {
            s.kind == "string"
                && s.values.is_empty()
                && s.pattern.is_none()
                && s.max.is_none()
                && s.rust.is_none()
        })
        .map(|(name, _)| name.clone());
    let text = text.unwrap_or_else(|| {
        contract
            .shapes
            .insert("ErrorMessage".into(), ShapeInfo { kind: "string".into(), ..ShapeInfo::default() });
        "ErrorMessage".into()
    });
    for shape in contract.shapes.values_mut().filter(|s| s.exception) {
        if message_member(shape).is_none() {
            shape.members.insert("message".into(), MemberRef { shape: text.clone(), ..MemberRef::default() });
        }
    }
    contract
}

/// The member of an error that holds its sentence.
pub fn message_member(shape: &ShapeInfo) -> Option<&String> {
    shape.members.keys().find(|name| name.eq_ignore_ascii_case("message"))
}

/// The contract seen as Rust types.
pub struct Types<'a> {
    pub contract: &'a Contract,
    /// Type names in use, by shape; two shapes never share one.
    names: BTreeMap<&'a str, String>,
    constants: BTreeMap<&'a str, String>,
    /// (structure, member) pairs that must be boxed because the type would contain itself.
    boxed: BTreeSet<(String, String)>,
}

impl<'a> Types<'a> {
    pub fn new(contract: &'a Contract) -> Types<'a> {
        let mut types =
            Types { contract, names: BTreeMap::new(), constants: BTreeMap::new(), boxed: BTreeSet::new() };
        let (mut taken_names, mut taken_constants) = (BTreeSet::new(), BTreeSet::new());
        for shape in contract.shapes.keys() {
            types.names.insert(shape, fresh(names::type_name(shape), &mut taken_names));
            types.constants.insert(shape, fresh(names::constant(shape), &mut taken_constants));
        }
        types.boxed = recursive_members(contract);
        types
    }

    pub fn shape(&self, name: &str) -> &'a ShapeInfo {
        self.contract.shapes.get(name).unwrap_or_else(|| panic!("the contract lacks shape {name}"))
    }

    pub fn name(&self, shape: &str) -> &str {
        &self.names[shape]
    }

    /// The path of the shape's static schema.
    pub fn schema(&self, shape: &str) -> String {
        format!("schema::{}", self.constants[shape])
    }

    pub fn constant(&self, shape: &str) -> &str {
        &self.constants[shape]
    }

    pub fn is_boxed(&self, structure: &str, member: &str) -> bool {
        self.boxed.contains(&(structure.to_string(), member.to_string()))
    }

    /// Whether a type of its own is generated for the shape.
    pub fn is_generated(&self, name: &str) -> bool {
        let shape = self.shape(name);
        shape.rust.is_none() && ((shape.kind == "structure" && !shape.document) || !shape.values.is_empty())
    }

    /// The Rust type of a value of the shape.
    pub fn rust(&self, name: &str) -> String {
        let shape = self.shape(name);
        if let Some(external) = &shape.rust {
            return external.path.clone();
        }
        match shape.kind.as_str() {
            "string" | "character" if shape.values.is_empty() => "::std::string::String".into(),
            "string" => self.name(name).into(),
            "boolean" => "bool".into(),
            "integer" => "i32".into(),
            "long" => "i64".into(),
            "float" => "f32".into(),
            "double" => "f64".into(),
            "blob" => "::tidemill_api::Bytes".into(),
            "timestamp" => "::tidemill_api::Timestamp".into(),
            "list" => format!("::std::vec::Vec<{}>", self.rust(element(shape))),
            "map" => format!(
                "::std::collections::BTreeMap<{}, {}>",
                self.rust(key(shape)),
                self.rust(value(shape))
            ),
            "structure" if shape.document => "::tidemill_api::Document".into(),
            "structure" if shape.eventstream => format!("::tidemill_api::EventStream<{}>", self.name(name)),
            "structure" => self.name(name).into(),
            other => panic!("shape {name} has the unknown type {other}"),
        }
    }

    /// An expression of type `Result<T, ReadError>`-with-`?` that reads a value of the shape from `r`.
    pub fn read(&self, name: &str) -> String {
        let shape = self.shape(name);
        let schema = self.schema(name);
        if let Some(external) = &shape.rust {
            return format!("{}::read(r, &{schema})?", external.codec);
        }
        match shape.kind.as_str() {
            "string" | "character" if shape.values.is_empty() => format!("r.string(&{schema})?"),
            "string" => format!("{}::from(r.string(&{schema})?)", self.name(name)),
            "list" | "map" => format!("collections::read_{}(r)?", self.constant(name).to_lowercase()),
            "structure" if shape.document => format!("r.document(&{schema})?"),
            "structure" => format!("<{} as ::tidemill_api::Shape>::read(r)?", self.name(name)),
            scalar => format!("r.{scalar}(&{schema})?"),
        }
    }

    /// A statement that writes `value` (an expression of type `&T`) to `w`.
    pub fn write(&self, name: &str, value: &str) -> String {
        let shape = self.shape(name);
        let schema = self.schema(name);
        if let Some(external) = &shape.rust {
            return format!("{}::write({value}, &{schema}, w);", external.codec);
        }
        match shape.kind.as_str() {
            "string" | "character" if shape.values.is_empty() => format!("w.string(&{schema}, {value});"),
            "string" => format!("w.string(&{schema}, {value}.as_str());"),
            "list" | "map" => {
                format!("collections::write_{}({value}, w);", self.constant(name).to_lowercase())
            }
            "structure" if shape.document => format!("w.document(&{schema}, {value});"),
            "structure" if shape.eventstream => format!("{value}.write(w, &{schema});"),
            "structure" => format!("::tidemill_api::WriteShape::write({value}, w);"),
            "blob" => format!("w.blob(&{schema}, {value});"),
            scalar => format!("w.{scalar}(&{schema}, *{value});"),
        }
    }
}

pub fn element(shape: &ShapeInfo) -> &str {
    shape.member.as_ref().map_or_else(|| panic!("a list without a member"), |m| m.shape.as_str())
}

pub fn key(shape: &ShapeInfo) -> &str {
    shape.key.as_ref().map_or_else(|| panic!("a map without a key"), |m| m.shape.as_str())
}

pub fn value(shape: &ShapeInfo) -> &str {
    shape.value.as_ref().map_or_else(|| panic!("a map without a value"), |m| m.shape.as_str())
}

fn fresh(name: String, taken: &mut BTreeSet<String>) -> String {
    let mut candidate = name.clone();
    let mut count = 2;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}{count}");
        count += 1;
    }
    candidate
}

/// Members through which a structure reaches itself without a list or map in between.
fn recursive_members(contract: &Contract) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (name, shape) in contract.shapes.iter().filter(|(_, s)| s.kind == "structure") {
        for (member, target) in &shape.members {
            if reaches(contract, &target.shape, name, &mut BTreeSet::new()) {
                found.insert((name.clone(), member.clone()));
            }
        }
    }
    found
}

fn reaches<'a>(contract: &'a Contract, from: &'a str, goal: &str, seen: &mut BTreeSet<&'a str>) -> bool {
    if from == goal {
        return true;
    }
    let Some(shape) = contract.shapes.get(from).filter(|s| s.kind == "structure" && s.rust.is_none()) else {
        return false;
    };
    seen.insert(from) && shape.members.values().any(|m| reaches(contract, &m.shape, goal, seen))
}
