//! References follow resources whose ids the transform made: `!Ref Layer`, `!Ref Function.Alias`, `${Layer}`.

use std::collections::BTreeMap;

use serde_json::Value;

pub(crate) fn rename(value: &mut Value, renamed: &BTreeMap<String, String>) {
    if renamed.is_empty() {
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, renamed)),
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                match (name.as_str(), &mut *member) {
                    ("Ref", Value::String(target)) => follow(target, renamed),
                    ("Fn::GetAtt", Value::Array(parts)) => {
                        if let Some(Value::String(target)) = parts.first_mut() {
                            follow(target, renamed);
                        }
                    }
                    ("DependsOn", Value::String(target)) => follow(target, renamed),
                    ("Fn::Sub", Value::String(text)) => *text = substituted(text, renamed),
                    ("Fn::Sub", Value::Array(parts)) => {
                        if let Some(Value::String(text)) = parts.first_mut() {
                            *text = substituted(text, renamed);
                        }
                        parts.iter_mut().skip(1).for_each(|part| rename(part, renamed));
                    }
                    _ => rename(member, renamed),
                }
            }
        }
        _ => {}
    }
}

fn follow(target: &mut String, renamed: &BTreeMap<String, String>) {
    if let Some(to) = renamed.get(target) {
        *target = to.clone();
    }
}

fn substituted(text: &str, renamed: &BTreeMap<String, String>) -> String {
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        made.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            made.push_str("${");
            made.push_str(after);
            return made;
        };
        let (resource, attribute) = name.split_once('.').unwrap_or((name, ""));
        match (renamed.get(name), renamed.get(resource)) {
            (Some(to), _) => made.push_str(&format!("${{{to}}}")),
            (None, Some(to)) if !attribute.is_empty() => made.push_str(&format!("${{{to}.{attribute}}}")),
            _ => made.push_str(&format!("${{{name}}}")),
        }
        rest = after;
    }
    made.push_str(rest);
    made
}
