//! `cargo xtask show SERVICE [OPERATION]`: a contract, patch included, for a person to read.

use anyhow::{Result, anyhow};
use tidemill_contract::{Contract, MemberRef, ShapeInfo, load};

use crate::root;

/// Shapes are printed no deeper than this; deeper ones are named.
const DEPTH: usize = 6;

pub fn run(service: &str, operation: Option<&str>) -> Result<()> {
    let contract = load(&root().join("contracts"), service)?;
    match operation {
        None => overview(&contract),
        Some(name) => show(&contract, name)?,
    }
    Ok(())
}

fn overview(contract: &Contract) {
    let service = &contract.service;
    println!("{} ({}), {}", service.name, service.service_id, service.protocols.join(", "));
    for name in contract.operations.keys() {
        println!("  {name}");
    }
    if !contract.absent.is_empty() {
        println!("not implemented: {}", contract.absent.join(", "));
    }
}

fn show(contract: &Contract, name: &str) -> Result<()> {
    let operation = contract
        .operations
        .get(name)
        .ok_or_else(|| anyhow!("{} has no operation {name}", contract.service.name))?;
    println!("{name}  {} {}", operation.http.method, operation.http.request_uri);
    for (side, shape) in [("input", &operation.input), ("output", &operation.output)] {
        println!("\n{side}{}", shape.as_ref().map(|s| format!(" {s}")).unwrap_or_else(|| " (none)".into()));
        if let Some(shape) = shape {
            members(contract, shape, 1);
        }
    }
    println!("\nerrors");
    for error in &operation.errors {
        println!("  {error}");
    }
    Ok(())
}

fn members(contract: &Contract, shape: &str, depth: usize) {
    let Some(info) = contract.shapes.get(shape).filter(|_| depth <= DEPTH) else { return };
    for (name, member) in &info.members {
        let required = if info.required.contains(name) { "  required" } else { "" };
        println!("{}{name}: {}{required}", "  ".repeat(depth), describe(contract, member));
        for inner in inner_shapes(contract, member) {
            members(contract, &inner, depth + 1);
        }
    }
}

fn describe(contract: &Contract, member: &MemberRef) -> String {
    let Some(info) = contract.shapes.get(&member.shape) else { return member.shape.clone() };
    let place = member
        .location
        .as_ref()
        .map(|l| format!(" in {l} {}", member.location_name.as_deref().unwrap_or("")))
        .unwrap_or_default();
    format!("{}{}{place}", kind(info), constraints(info))
}

fn kind(info: &ShapeInfo) -> String {
    match (&info.member, &info.key, &info.value) {
        (Some(member), _, _) => format!("list of {}", member.shape),
        (_, Some(key), Some(value)) => format!("map of {} to {}", key.shape, value.shape),
        _ => info.kind.clone(),
    }
}

fn constraints(info: &ShapeInfo) -> String {
    let mut out = String::new();
    if info.min.is_some() || info.max.is_some() {
        let end = |n: Option<f64>| n.map(|n| n.to_string()).unwrap_or_default();
        out += &format!(" {}..{}", end(info.min), end(info.max));
    }
    if let Some(pattern) = &info.pattern {
        out += &format!(" /{pattern}/");
    }
    if !info.values.is_empty() {
        out += &format!(" [{}]", info.values.join(", "));
    }
    out
}

fn inner_shapes(contract: &Contract, member: &MemberRef) -> Vec<String> {
    let Some(info) = contract.shapes.get(&member.shape) else { return Vec::new() };
    match (&info.member, &info.value) {
        (Some(element), _) => vec![element.shape.clone()],
        (_, Some(value)) => vec![value.shape.clone()],
        _ => vec![member.shape.clone()],
    }
}
