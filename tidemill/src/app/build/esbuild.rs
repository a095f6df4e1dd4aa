//! esbuild: TypeScript and JavaScript bundled into one file an entry point, as SAM's esbuild builder does. esbuild is the
//! project's own (`node_modules/.bin`) or the machine's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    Build,
    cache::{Inputs, run},
    node,
};

const INSTALL: &str = "install it for the project (`npm install --save-dev esbuild`) or the machine (`npm install --global esbuild`)";
/// Build properties that are handed to esbuild: SAM's name → the option, and whether it stands once for each value.
const OPTIONS: &[(&str, &str, bool)] = &[
    ("Minify", "minify", false),
    ("Target", "target", false),
    ("Sourcemap", "sourcemap", false),
    ("SourcesContent", "sources-content", false),
    ("Format", "format", false),
    ("KeepNames", "keep-names", false),
    ("MainFields", "main-fields", false),
    ("External", "external", true),
    ("Loader", "loader", true),
    ("Banner", "banner", true),
    ("Footer", "footer", true),
    ("Define", "define", true),
    ("Alias", "alias", true),
    ("OutExtension", "out-extension", true),
];
const OWN: &[&str] = &["EntryPoints", "UseNpmCi"];

/// The folder with the bundles.
pub fn bundle(build: &Build<'_>) -> Result<PathBuf> {
    let package = node::package(&build.source)?.unwrap_or_default();
    let is_installed = build.source.join("node_modules").is_dir();
    let needs = ["dependencies", "devDependencies"].iter().any(|section| node::has_any(&package, section));
    let modules = if needs && !is_installed { Some(node::install(build, &[])?) } else { None };
    let program = program(build, modules.as_deref())?;
    let arguments = arguments(build)?;
    let inputs = Inputs::new("esbuild").with(&arguments.join("\n")).folder(&build.source)?;
    build.cached(inputs, &format!("esbuild {}", arguments.join(" ")), |unfinished| {
        let mut esbuild = Command::new(&program);
        esbuild.args(&arguments).arg(format!("--outdir={}", unfinished.display()));
        if let Some(modules) = &modules {
            esbuild.env("NODE_PATH", modules.join("node_modules"));
        }
        run(esbuild, &build.source, "BuildMethod esbuild", INSTALL)?;
        let package = build.source.join("package.json");
        // It says whether `.js` are modules.
        if package.is_file() {
            fs::copy(package, unfinished.join("package.json"))?;
        }
        Ok(())
    })
}

/// The nearest esbuild: that of the project, of the folders around it, of the machine.
fn program(build: &Build<'_>, modules: Option<&Path>) -> Result<PathBuf> {
    let around = modules.into_iter().chain(build.source.ancestors());
    let mut places = around.map(|folder| folder.join("node_modules/.bin/esbuild"));
    if let Some(found) = places.find(|place| place.is_file()) {
        return Ok(found);
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|folder| folder.join("esbuild")).find(|one| one.is_file());
    found.with_context(|| {
        format!(
            "esbuild is needed for BuildMethod esbuild of {} and is not there; {INSTALL}",
            build.artifact.resource
        )
    })
}

fn arguments(build: &Build<'_>) -> Result<Vec<String>> {
    let properties = build.artifact.metadata.get("BuildProperties").and_then(Value::as_object);
    let properties = properties.cloned().unwrap_or_default();
    let entries: Vec<&str> = match properties.get("EntryPoints").and_then(Value::as_array) {
        Some(entries) => entries.iter().filter_map(Value::as_str).collect(),
        None => bail!("BuildMethod esbuild needs Metadata.BuildProperties.EntryPoints, such as [app.ts]"),
    };
    let mut arguments: Vec<String> = entries.into_iter().map(String::from).collect();
    arguments.extend(["--bundle", "--platform=node", "--log-level=warning"].map(String::from));
    for (name, value) in &properties {
        match OPTIONS.iter().find(|(known, ..)| known == name) {
            Some((_, option, is_each)) => arguments.extend(written(option, value, *is_each)),
            None if OWN.contains(&name.as_str()) => {}
            None => bail!("BuildProperties.{name} is not handed to esbuild here"),
        }
    }
    for (option, usual) in [("Minify", "--minify"), ("Target", "--target=es2022"), ("Format", "--format=cjs")]
    {
        if !properties.contains_key(option) {
            arguments.push(usual.into());
        }
    }
    // Lambda's runtimes bring the AWS SDK.
    if !properties.contains_key("External") {
        arguments.push("--external:@aws-sdk/*".into());
    }
    Ok(arguments)
}

/// `--minify`, `--target=es2022`, `--external:a --external:b`, `--loader:.png=file`.
fn written(option: &str, value: &Value, is_each: bool) -> Vec<String> {
    let plain = |one: &Value| one.as_str().map_or_else(|| one.to_string(), String::from);
    let each: Vec<String> = match value {
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(members) => members.iter().map(|(k, v)| format!("{k}={}", plain(v))).collect(),
        one => vec![plain(one)],
    };
    match (value, is_each) {
        (Value::Bool(true), false) => vec![format!("--{option}")],
        (Value::Bool(false), false) if option == "sources-content" => vec![format!("--{option}=false")],
        (Value::Bool(false), false) => Vec::new(),
        (_, true) => each.into_iter().map(|one| format!("--{option}:{one}")).collect(),
        (_, false) => vec![format!("--{option}={}", each.join(","))],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn properties_become_options() {
        for (option, value, is_each, expected) in [
            ("minify", json!(true), false, vec!["--minify"]),
            ("minify", json!(false), false, vec![]),
            ("target", json!("es2020"), false, vec!["--target=es2020"]),
            ("main-fields", json!(["module", "main"]), false, vec!["--main-fields=module,main"]),
            ("external", json!(["a", "b"]), true, vec!["--external:a", "--external:b"]),
            ("loader", json!([".png=file"]), true, vec!["--loader:.png=file"]),
            ("define", json!({"A": "1"}), true, vec!["--define:A=1"]),
        ] {
            assert_eq!(written(option, &value, is_each), expected, "{option}");
        }
    }
}
