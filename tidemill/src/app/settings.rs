//! What an application is deployed with: the command line's word first, then `samconfig.toml`'s, then the usual.

use anyhow::Result;

use super::{App, overrides, samconfig::Samconfig};
use crate::cli::StackOptions;

/// Everything a deployment is told besides the template.
#[derive(Debug, Clone)]
pub struct Settings {
    pub stack: String,
    pub region: Option<String>,
    pub parameters: Vec<(String, String)>,
    pub tags: Vec<(String, String)>,
    /// `None`: whatever the template needs.
    pub capabilities: Option<Vec<String>>,
    /// Settings of `samconfig.toml` that are not honoured.
    pub unknown: Vec<String>,
}

impl Settings {
    /// # Errors
    /// `samconfig.toml` or a parameter is not in order.
    pub fn read(app: &App, options: &StackOptions) -> Result<Settings> {
        let file = Samconfig::read(&app.folder, options.config_env.as_deref())?;
        let mut given = Vec::new();
        for text in &options.parameter_overrides {
            given.extend(overrides::parse(text)?);
        }
        given.extend(options.parameters.iter().cloned());
        Ok(Settings {
            stack: options.stack.clone().or(file.stack_name).unwrap_or_else(|| app.name.clone()),
            region: file.region,
            parameters: overrides::merged(&file.parameters, &given),
            tags: file.tags,
            capabilities: file.capabilities,
            unknown: file.unknown,
        })
    }
}
