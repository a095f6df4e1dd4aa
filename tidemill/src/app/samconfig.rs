//! `samconfig.toml` beside a template: what `sam deploy` would be told on its command line. What concerns only uploads
//! to AWS or questions to people is passed over; what would change a deployment and is not honoured is named.

use std::path::Path;

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use super::overrides;

const NAME: &str = "samconfig.toml";
/// Settings without meaning here: where AWS keeps artifacts, who is asked, how `sam` prints.
const PASSED_OVER: &[&str] = &[
    "s3_bucket",
    "s3_prefix",
    "resolve_s3",
    "image_repository",
    "image_repositories",
    "resolve_image_repos",
    "confirm_changeset",
    "fail_on_empty_changeset",
    "force_upload",
    "no_progressbar",
    "use_json",
    "guided",
    "debug",
    "beta_features",
    "save_params",
    "cached",
    "parallel",
    "use_container",
    "profile",
];

/// What one environment of the file says of deployments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samconfig {
    pub stack_name: Option<String>,
    pub region: Option<String>,
    pub parameters: Vec<(String, String)>,
    pub tags: Vec<(String, String)>,
    pub capabilities: Option<Vec<String>>,
    /// Settings that are not honoured.
    pub unknown: Vec<String>,
}

impl Samconfig {
    /// Reads the file in the folder of an application; without one, nothing is said. `environment` was asked for by
    /// name and has to be there, `default` need not.
    ///
    /// # Errors
    /// The file is no TOML, has no such environment, or a setting is not what it should be.
    pub fn read(folder: &Path, environment: Option<&str>) -> Result<Samconfig> {
        let file = folder.join(NAME);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(_) if environment.is_none() => return Ok(Samconfig::default()),
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("--config-env asks for a section of {}, which cannot be read", file.display())
                });
            }
        };
        parse(&text, environment).with_context(|| format!("{} is not in order", file.display()))
    }
}

fn parse(text: &str, environment: Option<&str>) -> Result<Samconfig> {
    let whole: Table = text.parse()?;
    let name = environment.unwrap_or("default");
    let Some(section) = whole.get(name).and_then(Value::as_table) else {
        if environment.is_none() {
            return Ok(Samconfig::default());
        }
        let known: Vec<&str> =
            whole.iter().filter(|(_, value)| value.is_table()).map(|(name, _)| name.as_str()).collect();
        bail!("it has no environment [{name}]; it has {}", known.join(", "));
    };
    let mut found = Samconfig::default();
    // The command's own settings come before those of all commands.
    for command in ["global", "deploy"] {
        let settings = section.get(command).and_then(|one| one.get("parameters")).and_then(Value::as_table);
        for (name, value) in settings.into_iter().flatten() {
            found.set(name, value).with_context(|| format!("{name} of [{command}]"))?;
        }
    }
    Ok(found)
}

impl Samconfig {
    fn set(&mut self, name: &str, value: &Value) -> Result<()> {
        match name {
            "stack_name" => self.stack_name = Some(text(value)?),
            "region" => self.region = Some(text(value)?),
            "parameter_overrides" => self.parameters = pairs(value)?,
            "tags" => self.tags = pairs(value)?,
            "capabilities" => self.capabilities = Some(words(value)?),
            known if PASSED_OVER.contains(&known) => {}
            other => self.unknown.push(other.to_string()),
        }
        Ok(())
    }
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().context("it has to be a text")?.to_string())
}

/// `"A=1 B=2"`, a list of such texts, or a table.
fn pairs(value: &Value) -> Result<Vec<(String, String)>> {
    match value {
        Value::String(text) => overrides::parse(text),
        Value::Array(items) => {
            let mut all = Vec::new();
            for item in items {
                all.extend(overrides::parse(&text(item)?)?);
            }
            Ok(all)
        }
        Value::Table(members) => members.iter().map(|(name, one)| Ok((name.clone(), plain(one)?))).collect(),
        _ => bail!("it has to be a text, a list or a table"),
    }
}

fn plain(value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(is) => Ok(is.to_string()),
        _ => bail!("its values have to be texts"),
    }
}

fn words(value: &Value) -> Result<Vec<String>> {
    match value {
        Value::String(text) => Ok(text.split_whitespace().map(String::from).collect()),
        Value::Array(items) => items.iter().map(text).collect(),
        _ => bail!("it has to be a text or a list"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
version = 0.1
[default.global.parameters]
stack_name = "everywhere"
region = "eu-west-1"
[default.build.parameters]
cached = true
[default.deploy.parameters]
stack_name = "orders"
capabilities = "CAPABILITY_IAM CAPABILITY_NAMED_IAM"
parameter_overrides = "Stage=\"prod blue\" ParameterKey=Size,ParameterValue=3"
tags = ["team=shop", "cost=7"]
confirm_changeset = true
role_arn = "arn:aws:iam::1:role/x"
[test.deploy.parameters]
stack_name = "orders-test"
parameter_overrides = {Stage = "test", Size = 1}
"#;

    #[test]
    fn the_deployments_settings_are_read() {
        let found = parse(FILE, None).expect("it is good");
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        assert_eq!(found.stack_name.as_deref(), Some("orders"));
        assert_eq!(found.region.as_deref(), Some("eu-west-1"));
        assert_eq!(found.parameters, [pair("Stage", "prod blue"), pair("Size", "3")]);
        assert_eq!(found.tags, [pair("team", "shop"), pair("cost", "7")]);
        assert_eq!(found.capabilities.map(|all| all.len()), Some(2));
        assert_eq!(found.unknown, ["role_arn"]);
        let test = parse(FILE, Some("test")).expect("it is good");
        assert_eq!(test.parameters, [pair("Size", "1"), pair("Stage", "test")]);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, environment, sentence) in [
            (FILE, Some("prod"), "it has no environment [prod]; it has default, test"),
            ("[default.deploy.parameters]\nstack_name = 3", None, "stack_name of [deploy]"),
            ("[default.deploy.parameters]\ntags = \"nonsense\"", None, "tags of [deploy]"),
            ("[default", None, "TOML parse error"),
        ] {
            let error = parse(text, environment).expect_err(sentence);
            assert!(error.to_string().contains(sentence), "{error}");
        }
        assert_eq!(parse("version = 0.1", None).expect("nothing said"), Samconfig::default());
    }
}
