//! The interpreters of this machine and the SDKs functions expect beside them.

pub(crate) mod detect;
pub mod java;
pub(crate) mod plan;
mod prepare;

use std::path::PathBuf;

pub use detect::detect;
pub use prepare::{PrepareError, prepare};

/// What a machine has for running functions.
#[derive(Clone, Debug, Default)]
pub struct Detected {
    /// Best first: newer before older, Python before Node.js.
    pub interpreters: Vec<Interpreter>,
}

/// An interpreter and whether the AWS SDK is there for it.
#[derive(Clone, Debug)]
pub struct Interpreter {
    pub kind: Kind,
    /// `3.11.7`, `20.20.2`
    pub version: String,
    pub path: PathBuf,
    /// The runtime name it serves: `python3.11`, `nodejs20.x`.
    pub runtime: String,
    /// The version of boto3 or of `@aws-sdk/client-s3` functions will find, if any.
    pub sdk: Option<String>,
    /// What is missing, in words, with the command that helps.
    pub missing: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Python,
    Node,
    Java,
}

/// The kind and the version (major and minor; Node.js has no minor here) a runtime's name asks for.
pub(crate) fn wanted(runtime: &str) -> Option<(Kind, u32, u32)> {
    if let Some(version) = runtime.strip_prefix("python3.") {
        let minor = version.parse().ok()?;
        return (minor >= 9).then_some((Kind::Python, 3, minor));
    }
    let major = runtime.strip_prefix("nodejs")?.strip_suffix(".x")?.parse().ok()?;
    (major >= 16).then_some((Kind::Node, major, 0))
}

/// What to install for a runtime, and how.
fn needs_and_hint(runtime: &str) -> (String, String) {
    match wanted(runtime) {
        Some((Kind::Python, major, minor)) => (
            format!("Python {major}.{minor}"),
            format!(
                "Install it with your system's packages (python{major}.{minor}), `pyenv install {major}.{minor}` or `uv python install {major}.{minor}`; `tidemill doctor` shows what was found."
            ),
        ),
        Some((Kind::Node, major, _)) => (
            format!("Node.js {major}"),
            format!(
                "Install it from nodejs.org or with `nvm install {major}`; `tidemill doctor` shows what was found."
            ),
        ),
        Some((Kind::Java, ..)) | None => (runtime.to_owned(), String::new()),
    }
}
