//! Attribute values on the wire, and as the JSON that functions get.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use tidemill_api::{ReadError, Reader, Schema, Writer};
use tidemill_dynamo_expression::{AttributeValue, Item, Number};

/// The members of `AttributeValue` in the contract's order.
const S: usize = 0;
const N: usize = 1;
const B: usize = 2;
const SS: usize = 3;
const NS: usize = 4;
const BS: usize = 5;
const M: usize = 6;
const L: usize = 7;
const NULL: usize = 8;
const BOOL: usize = 9;

/// Reads one value: a structure of which exactly one member is set.
pub fn read(r: &mut dyn Reader, schema: &'static Schema) -> Result<AttributeValue, ReadError> {
    let invalid = |sentence: &str| ReadError::with_code("ValidationException", sentence);
    let mut found = None;
    r.begin_structure(schema)?;
    while let Some(at) = r.next_member()? {
        let target = schema.members[at].schema();
        let value = match at {
            S => AttributeValue::S(r.string(target)?),
            N => AttributeValue::N(number(&r.string(target)?)?),
            B => AttributeValue::B(r.blob(target)?),
            SS => AttributeValue::Ss(list(r, target, |r, of| r.string(of))?),
            NS => AttributeValue::Ns(list(r, target, |r, of| number(&r.string(of)?))?),
            BS => AttributeValue::Bs(list(r, target, |r, of| r.blob(of))?),
            L => AttributeValue::L(list(r, target, read)?),
            M => AttributeValue::M(map(r, target)?),
            NULL if r.boolean(target)? => AttributeValue::Null,
            NULL => {
                return Err(invalid(
                    "One or more parameter values were invalid: Null attribute value types must have the value of true",
                ));
            }
            BOOL => AttributeValue::Bool(r.boolean(target)?),
            _ => continue,
        };
        if found.replace(value).is_some() {
            return Err(invalid(
                "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
            ));
        }
    }
    found.ok_or_else(|| {
        invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
    })
}

fn number(text: &str) -> Result<Number, ReadError> {
    Number::parse(text).map_err(|refused| ReadError::with_code("ValidationException", refused.0))
}

fn list<T>(
    r: &mut dyn Reader,
    schema: &'static Schema,
    each: impl Fn(&mut dyn Reader, &'static Schema) -> Result<T, ReadError>,
) -> Result<Vec<T>, ReadError> {
    let mut list = Vec::new();
    r.begin_list(schema)?;
    while r.next_element()? {
        list.push(each(r, schema.members[0].schema())?);
    }
    Ok(list)
}

fn map(r: &mut dyn Reader, schema: &'static Schema) -> Result<Item, ReadError> {
    let mut map = Item::new();
    r.begin_map(schema)?;
    while let Some(key) = r.next_key()? {
        let value = read(r, schema.members[1].schema())?;
        map.insert(key, value);
    }
    Ok(map)
}

pub fn write(value: &AttributeValue, schema: &'static Schema, w: &mut dyn Writer) {
    let target = |at: usize| schema.members[at].schema();
    w.begin_structure(schema);
    let mut member = |at: usize| {
        w.member(&schema.members[at]);
        target(at)
    };
    match value {
        AttributeValue::S(text) => {
            let of = member(S);
            w.string(of, text);
        }
        AttributeValue::N(number) => {
            let of = member(N);
            w.string(of, &number.to_string());
        }
        AttributeValue::B(bytes) => {
            let of = member(B);
            w.blob(of, bytes);
        }
        AttributeValue::Bool(value) => {
            let of = member(BOOL);
            w.boolean(of, *value);
        }
        AttributeValue::Null => {
            let of = member(NULL);
            w.boolean(of, true);
        }
        AttributeValue::Ss(set) => {
            let of = member(SS);
            write_list(w, of, set, |w, of, text| w.string(of, text));
        }
        AttributeValue::Ns(set) => {
            let of = member(NS);
            write_list(w, of, set, |w, of, number| w.string(of, &number.to_string()));
        }
        AttributeValue::Bs(set) => {
            let of = member(BS);
            write_list(w, of, set, |w, of, bytes| w.blob(of, bytes));
        }
        AttributeValue::L(list) => {
            let of = member(L);
            write_list(w, of, list, |w, of, value| write(value, of, w));
        }
        AttributeValue::M(map) => {
            let of = member(M);
            w.begin_map(of, map.len());
            for (key, value) in map {
                w.key(key);
                write(value, of.members[1].schema(), w);
            }
            w.end_map();
        }
    }
    w.end_structure();
}

fn write_list<T>(
    w: &mut dyn Writer,
    schema: &'static Schema,
    list: &[T],
    each: impl Fn(&mut dyn Writer, &'static Schema, &T),
) {
    w.begin_list(schema, list.len());
    for value in list {
        w.element();
        each(w, schema.members[0].schema(), value);
    }
    w.end_list();
}

/// An item as stream events carry it.
pub fn item_json(item: &Item) -> Value {
    Value::Object(item.iter().map(|(name, value)| (name.clone(), value_json(value))).collect::<Map<_, _>>())
}

fn value_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number.to_string() }),
        AttributeValue::B(bytes) => json!({ "B": BASE64_STANDARD.encode(bytes) }),
        AttributeValue::Bool(value) => json!({ "BOOL": value }),
        AttributeValue::Null => json!({ "NULL": true }),
        AttributeValue::Ss(set) => json!({ "SS": set }),
        AttributeValue::Ns(set) => json!({ "NS": set.iter().map(ToString::to_string).collect::<Vec<_>>() }),
        AttributeValue::Bs(set) => {
            json!({ "BS": set.iter().map(|bytes| BASE64_STANDARD.encode(bytes)).collect::<Vec<_>>() })
        }
        AttributeValue::L(list) => json!({ "L": list.iter().map(value_json).collect::<Vec<_>>() }),
        AttributeValue::M(map) => json!({ "M": item_json(map) }),
    }
}
