//! `cargo xtask contracts`: service models of the pinned botocore → `contracts/<service>.json`, stripped.
//!
//! `contracts/operations/<service>.txt` names the model (`botocore: sqs/2012-11-05`) and the operations we implement,
//! one a line. What those operations do not reach is left out; the other operations stay as bare names.

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow, bail};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::root;

/// What a shape and a member keep of the model; everything else is documentation or the client's business.
const SHAPE_KEYS: &[&str] = &[
    "type",
    "members",
    "required",
    "member",
    "key",
    "value",
    "min",
    "max",
    "pattern",
    "enum",
    "flattened",
    "sensitive",
    "timestampFormat",
    "payload",
    "locationName",
    "xmlNamespace",
    "eventstream",
    "event",
    "union",
    "document",
    "streaming",
    "exception",
    "fault",
    "error",
];
const MEMBER_KEYS: &[&str] = &[
    "shape",
    "location",
    "locationName",
    "flattened",
    "xmlAttribute",
    "xmlNamespace",
    "timestampFormat",
    "idempotencyToken",
    "streaming",
    "eventpayload",
    "eventheader",
    "jsonvalue",
];

pub fn run(services: &[&str]) -> Result<()> {
    let folder = root().join("contracts");
    let pin = fs::read_to_string(folder.join("BOTOCORE"))?.trim().to_string();
    let mut models = Models::open(&pin)?;
    for service in chosen(&folder, services)? {
        let wanted = Wanted::read(&folder, &service)?;
        let model = models.read(&wanted.model)?;
        let contract = derive(&service, &wanted, &model).with_context(|| format!("contract of {service}"))?;
        fs::write(folder.join(format!("{service}.json")), print(&contract)?)?;
        println!(
            "{service}: {} operations, {} absent",
            wanted.operations.len(),
            contract["absent"].as_array().map_or(0, Vec::len)
        );
    }
    Ok(())
}

fn chosen(folder: &Path, services: &[&str]) -> Result<Vec<String>> {
    if !services.is_empty() {
        return Ok(services.iter().map(|s| s.to_string()).collect());
    }
    let mut all = Vec::new();
    for entry in fs::read_dir(folder.join("operations"))? {
        let path = entry?.path();
        if let Some(stem) = path.file_stem().filter(|_| path.extension().is_some_and(|e| e == "txt")) {
            all.push(stem.to_string_lossy().into_owned());
        }
    }
    all.sort();
    Ok(all)
}

/// The list of what we implement of a service.
struct Wanted {
    model: String,
    operations: BTreeSet<String>,
}

impl Wanted {
    fn read(folder: &Path, service: &str) -> Result<Wanted> {
        let path = folder.join("operations").join(format!("{service}.txt"));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut wanted = Wanted { model: String::new(), operations: BTreeSet::new() };
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            match line.strip_prefix("botocore:") {
                Some(model) => wanted.model = model.trim().to_string(),
                None => drop(wanted.operations.insert(line.to_string())),
            }
        }
        if wanted.model.is_empty() {
            bail!("{} lacks its `botocore: name/version` line", path.display());
        }
        Ok(wanted)
    }
}

/// The service models inside the botocore wheel.
struct Models(zip::ZipArchive<fs::File>);

impl Models {
    fn open(pin: &str) -> Result<Models> {
        let folder = root().join("target").join("botocore");
        let wheel = folder.join(format!("botocore-{pin}-py3-none-any.whl"));
        if !wheel.exists() {
            download(pin, &folder)?;
        }
        Ok(Models(zip::ZipArchive::new(
            fs::File::open(&wheel).with_context(|| wheel.display().to_string())?,
        )?))
    }

    fn read(&mut self, model: &str) -> Result<Value> {
        let name = format!("botocore/data/{model}/service-2.json");
        if let Ok(file) = self.0.by_name(&name) {
            return Ok(serde_json::from_reader(file)?);
        }
        let packed =
            self.0.by_name(&format!("{name}.gz")).map_err(|_| anyhow!("botocore has no model {model}"))?;
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut text)?;
        Ok(serde_json::from_str(&text)?)
    }
}

fn download(pin: &str, folder: &PathBuf) -> Result<()> {
    println!("fetching botocore {pin} with pip");
    let status = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest"])
        .arg(folder)
        .arg(format!("botocore=={pin}"))
        .status()
        .context("python3 with pip is needed to fetch botocore")?;
    if !status.success() {
        bail!("pip could not fetch botocore {pin}");
    }
    Ok(())
}

fn derive(service: &str, wanted: &Wanted, model: &Value) -> Result<Value> {
    let all = model["operations"].as_object().ok_or_else(|| anyhow!("no operations"))?;
    if let Some(unknown) = wanted.operations.iter().find(|name| !all.contains_key(*name)) {
        bail!("AWS has no operation {unknown}");
    }
    let mut operations = Map::new();
    let mut reached = Reached { model: &model["shapes"], shapes: IndexMap::new() };
    for name in &wanted.operations {
        operations.insert(name.clone(), operation(&all[name], &mut reached)?);
    }
    reached.shapes.sort_keys();
    let is_rest = model["metadata"]["protocol"].as_str().is_some_and(|protocol| protocol.starts_with("rest"));
    let absent: BTreeSet<String> = all
        .iter()
        .filter(|(name, _)| !wanted.operations.contains(*name))
        .map(|(name, operation)| if is_rest { named_by_path(name, operation) } else { name.clone() })
        .collect();
    Ok(json!({
        "service": service_info(service, &model["metadata"]),
        "operations": operations,
        "absent": absent,
        "shapes": reached.shapes.into_iter().collect::<Map<_, _>>(),
    }))
}

/// REST operations are known by method and path, so an absent one needs those to be told from one nobody has.
fn named_by_path(name: &str, operation: &Value) -> String {
    let text = |key: &str| operation["http"][key].as_str().unwrap_or_default();
    format!("{name} {} {}", text("method"), text("requestUri"))
}

fn service_info(service: &str, metadata: &Value) -> Value {
    let text = |key: &str| metadata[key].as_str().map(str::to_string);
    let endpoint = text("endpointPrefix").unwrap_or_default();
    let mut info = json!({
        "name": service,
        "serviceId": text("serviceId").or_else(|| text("serviceAbbreviation")),
        "signingName": text("signingName").unwrap_or_else(|| endpoint.clone()),
        "endpointPrefix": endpoint,
        "apiVersion": text("apiVersion"),
        "protocols": metadata.get("protocols").cloned().unwrap_or_else(|| json!([metadata["protocol"]])),
    });
    for key in ["targetPrefix", "jsonVersion", "xmlNamespace"] {
        if let Some(value) = text(key) {
            info[key] = json!(value);
        }
    }
    if metadata.get("awsQueryCompatible").is_some() {
        info["queryCompatible"] = json!(true);
    }
    info
}

fn operation(model: &Value, reached: &mut Reached) -> Result<Value> {
    let mut out = json!({ "http": model["http"] });
    for side in ["input", "output"] {
        if let Some(shape) = model[side]["shape"].as_str() {
            reached.shape(shape)?;
            out[side] = json!(shape);
        }
    }
    // Where the model writes the root element's name on the reference, it belongs to the shape.
    for side in ["input", "output"] {
        if let (Some(shape), Some(name)) =
            (model[side]["shape"].as_str(), model[side]["locationName"].as_str())
        {
            reached.note(shape, "locationName", json!(name));
            if let Some(namespace) = model[side].get("xmlNamespace") {
                reached.note(shape, "xmlNamespace", namespace.clone());
            }
        }
    }
    if let Some(wrapper) = model["output"]["resultWrapper"].as_str() {
        out["resultWrapper"] = json!(wrapper);
    }
    if let Some(errors) = model["errors"].as_array() {
        let names: Vec<&str> = errors.iter().filter_map(|e| e["shape"].as_str()).collect();
        for name in &names {
            reached.shape(name)?;
        }
        out["errors"] = json!(names);
    }
    if let Some(auth) = model["authtype"].as_str() {
        out["authtype"] = json!(auth);
    }
    Ok(out)
}

/// The shapes that the wanted operations reach, stripped.
struct Reached<'a> {
    model: &'a Value,
    shapes: IndexMap<String, Value>,
}

impl Reached<'_> {
    fn shape(&mut self, name: &str) -> Result<()> {
        if self.shapes.contains_key(name) {
            return Ok(());
        }
        let model = self.model.get(name).ok_or_else(|| anyhow!("the model lacks shape {name}"))?;
        let mut stripped = keep(model, SHAPE_KEYS);
        let mut next = Vec::new();
        for side in ["member", "key", "value"] {
            if let Some(member) = stripped.get_mut(side) {
                *member = keep(member, MEMBER_KEYS);
                next.extend(member["shape"].as_str().map(str::to_string));
            }
        }
        if let Some(members) = stripped.get_mut("members").and_then(Value::as_object_mut) {
            for member in members.values_mut() {
                *member = keep(member, MEMBER_KEYS);
                next.extend(member["shape"].as_str().map(str::to_string));
            }
        }
        if stripped.get("members").is_some_and(|m| m.as_object().is_some_and(Map::is_empty)) {
            stripped.as_object_mut().map(|s| s.shift_remove("members"));
        }
        self.shapes.insert(name.to_string(), stripped);
        next.iter().try_for_each(|name| self.shape(name))
    }

    fn note(&mut self, shape: &str, key: &str, value: Value) {
        if let Some(shape) = self.shapes.get_mut(shape).filter(|s| s.get(key).is_none()) {
            shape[key] = value;
        }
    }
}

fn keep(value: &Value, keys: &[&str]) -> Value {
    let mut kept = Map::new();
    for key in keys {
        match value.get(*key) {
            None | Some(Value::Bool(false)) => {}
            Some(found) => drop(kept.insert(key.to_string(), found.clone())),
        }
    }
    Value::Object(kept)
}

/// One operation or shape a line, so that a change of one shows as one line.
fn print(contract: &Value) -> Result<String> {
    let mut out = String::from("{\n");
    out += &format!("  \"service\": {},\n", serde_json::to_string(&contract["service"])?);
    for part in ["operations", "shapes"] {
        let lines: Vec<String> = contract[part]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| {
                Ok(format!("    {}: {}", serde_json::to_string(name)?, serde_json::to_string(value)?))
            })
            .collect::<Result<_>>()?;
        out += &format!("  \"{part}\": {{\n{}\n  }},\n", lines.join(",\n"));
    }
    out += &format!("  \"absent\": {}\n}}\n", serde_json::to_string(&contract["absent"])?);
    Ok(out)
}
