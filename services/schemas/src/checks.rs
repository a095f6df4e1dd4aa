//! Constraints of the contract that this service words as `BadRequestException`.

use tidemill_platform::Fault;

use crate::{
    api::Type,
    content::{JSON_SCHEMA, OPEN_API},
    faults::bad_request,
};

/// The longest description, in characters.
const LONGEST_DESCRIPTION: usize = 256;

/// A member that must be there.
pub fn required<T>(value: Option<T>, name: &str) -> Result<T, Fault> {
    value.ok_or_else(|| bad_request(format!("{name} is required.")))
}

pub fn description(text: Option<&str>) -> Result<(), Fault> {
    if text.is_some_and(|text| text.chars().count() > LONGEST_DESCRIPTION) {
        return Err(bad_request(format!("Description is longer than {LONGEST_DESCRIPTION} characters.")));
    }
    Ok(())
}

/// The kind of a schema's text.
pub fn kind(kind: &Type) -> Result<&'static str, Fault> {
    match kind.as_str() {
        OPEN_API => Ok(OPEN_API),
        JSON_SCHEMA => Ok(JSON_SCHEMA),
        other => Err(bad_request(format!("Type {other} is not valid."))),
    }
}

/// Names have letters, digits and `_.@-`; those of registries that begin with `aws.` are AWS's.
pub fn name(what: &str, name: &str, longest: usize) -> Result<(), Fault> {
    let is_plain = |one: char| one.is_ascii_alphanumeric() || "_.@-".contains(one);
    if name.is_empty() || name.len() > longest || !name.chars().all(is_plain) {
        return Err(bad_request(format!("{what} name {name} is not valid.")));
    }
    if what == "Registry" && name.starts_with("aws.") {
        return Err(bad_request("Registry name must not start with aws."));
    }
    Ok(())
}
