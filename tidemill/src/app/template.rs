//! Finding and reading an application's template.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

const NAMES: &[&str] = &["template.yaml", "template.yml", "template.json"];

/// An application: a folder with a template.
#[derive(Debug)]
pub struct App {
    pub folder: PathBuf,
    pub file: PathBuf,
    pub template: Value,
    /// What its stack is called if nobody says otherwise: the folder's name.
    pub name: String,
}

impl App {
    /// Reads the application in a folder, or of a template's file.
    pub fn read(path: &Path) -> Result<App> {
        let file = find(path)?;
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let template = tidemill_cfn_template::read(&text)
            .with_context(|| format!("{} is no template", file.display()))?;
        let file = std::path::absolute(&file)?;
        let folder = file.parent().unwrap_or(Path::new("/")).to_path_buf();
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(App { name: stack_name(&name), folder, file, template })
    }

    /// The application's note to Tidemill, under `Metadata.Tidemill`.
    pub fn note(&self, name: &str) -> Option<&Value> {
        self.template.get("Metadata")?.get("Tidemill")?.get(name)
    }
}

fn find(path: &Path) -> Result<PathBuf> {
    if path.is_file() {
        return Ok(path.to_path_buf());
    }
    if !path.is_dir() {
        bail!("{} does not exist", path.display());
    }
    let found = NAMES.iter().map(|name| path.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("{} has no template ({})", path.display(), NAMES.join(", ")))
}

/// A stack's name takes letters, digits and hyphens, and begins with a letter.
fn stack_name(folder: &str) -> String {
    let cleaned: String = folder.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let cleaned = cleaned.trim_matches('-').to_string();
    if cleaned.starts_with(|c: char| c.is_ascii_alphabetic()) { cleaned } else { format!("app-{cleaned}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_become_stack_names() {
        for (folder, name) in
            [("sales-pipeline", "sales-pipeline"), ("my app_2", "my-app-2"), ("2nd", "app-2nd")]
        {
            assert_eq!(stack_name(folder), name);
        }
    }
}
