//! From a folder of code to an archive: built with the language's own tools where the template or the folder asks for
//! it, once per set of inputs, then packed so that the same code gives the same bytes. A module a kind of build.

mod archive;
mod cache;
pub mod check;
mod esbuild;
mod make;
mod node;
pub mod python;
mod rust;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tidemill_sam_transform::Artifact;

pub use archive::{LEFT_OUT, Packed};

/// What is said while something takes time.
pub type Say<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// One thing to be built.
pub struct Build<'a> {
    artifact: &'a Artifact,
    /// The folder the template names, absolute.
    source: PathBuf,
    say: Say<'a>,
}

/// A folder whose files go into the archive.
struct Part {
    folder: PathBuf,
    /// Where in the archive: empty, or such as `python`.
    prefix: &'static str,
    /// It never changes: it lies in the cache under the digest of what it was made from.
    is_fixed: bool,
}

/// How an artifact is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    /// The folder as it is.
    Plain,
    Python,
    Node,
    Esbuild,
    Rust,
    Make,
}

/// Builds and packs what an artifact names. `say` gets a line for whatever takes time.
///
/// # Errors
/// The path is not there, or its tool is missing or fails; the error says what to do.
pub fn pack(app: &Path, artifact: &Artifact, say: Say<'_>) -> Result<Packed> {
    let path = std::path::absolute(app.join(&artifact.path))?;
    let name = format!("{} of {} ({})", artifact.property, artifact.resource, path.display());
    if path.is_file() {
        return archive::of_file(&path).context(name);
    }
    if !path.is_dir() {
        bail!("{name} does not exist");
    }
    let build = Build { artifact, source: path, say };
    archive::of_parts(&build.parts().with_context(|| name.clone())?).context(name)
}

/// The folder of dependencies that were installed for a function's code, for whoever runs that code where it lies.
///
/// # Errors
/// As [`pack`].
pub fn dependencies(app: &Path, artifact: &Artifact, say: Say<'_>) -> Result<Option<PathBuf>> {
    let build = Build { artifact, source: std::path::absolute(app.join(&artifact.path))?, say };
    match build.method()? {
        Method::Python => python::dependencies(&build),
        Method::Node => node::dependencies(&build),
        _ => Ok(None),
    }
}

impl Build<'_> {
    fn parts(&self) -> Result<Vec<Part>> {
        let layered = |folder: &'static str| if self.artifact.is_function() { "" } else { folder };
        match self.method()? {
            Method::Plain => Ok(vec![self.sources("")]),
            Method::Python => Ok(self.with_sources(python::dependencies(self)?, layered("python"))),
            Method::Node => Ok(self.with_sources(node::dependencies(self)?, layered("nodejs"))),
            Method::Esbuild => Ok(vec![fixed(esbuild::bundle(self)?, layered("nodejs"))]),
            Method::Rust => Ok(vec![fixed(rust::bootstrap(self)?, "")]),
            Method::Make => Ok(vec![fixed(make::artifacts(self)?, "")]),
        }
    }

    fn sources(&self, prefix: &'static str) -> Part {
        Part { folder: self.source.clone(), prefix, is_fixed: false }
    }

    /// Sources come last and win.
    fn with_sources(&self, dependencies: Option<PathBuf>, prefix: &'static str) -> Vec<Part> {
        let dependencies = dependencies.map(|folder| fixed(folder, prefix));
        dependencies.into_iter().chain([self.sources(prefix)]).collect()
    }

    /// What the template asks for, or else what the runtime and the folder's files say.
    fn method(&self) -> Result<Method> {
        let runtime = self.artifact.runtime.as_deref().unwrap_or_default();
        match self.artifact.build_method.as_deref() {
            Some("makefile") => Ok(Method::Make),
            Some("rust-cargolambda") => Ok(Method::Rust),
            Some("esbuild") => Ok(Method::Esbuild),
            Some("python-uv") => bail!(
                "BuildMethod python-uv is not built here; write the requirements with `uv export --no-dev --no-hashes -o requirements.txt` and name the Python version as BuildMethod"
            ),
            Some(language) if language.starts_with("python3.") => Ok(Method::Python),
            Some(language) if language.starts_with("nodejs") => Ok(Method::Node),
            Some(other) => bail!(
                "BuildMethod {other} is not built here (python3.x, nodejs…x, esbuild, makefile and rust-cargolambda are); build it with its own tool and let {} name the result",
                self.artifact.property
            ),
            None if runtime.starts_with("python") => Ok(Method::Python),
            None if runtime.starts_with("nodejs") => Ok(Method::Node),
            None if runtime.starts_with("provided") => self.method_of_provided(),
            None if runtime.starts_with("java") => self.method_of_java(),
            None => Ok(Method::Plain),
        }
    }

    fn method_of_provided(&self) -> Result<Method> {
        if make::has_target(&self.source, &self.artifact.resource) {
            return Ok(Method::Make);
        }
        if self.source.join("bootstrap").is_file() {
            return Ok(Method::Plain);
        }
        if self.source.join("Cargo.toml").is_file() {
            return Ok(Method::Rust);
        }
        bail!(
            "a function with its own runtime needs a program named bootstrap; put it there, or a Cargo.toml, or a Makefile with the target build-{}",
            self.artifact.resource
        )
    }

    /// A folder of classes and jars is packed; a project is built by who knows its plugins.
    fn method_of_java(&self) -> Result<Method> {
        if make::has_target(&self.source, &self.artifact.resource) {
            return Ok(Method::Make);
        }
        let tools = [
            ("pom.xml", "mvn package"),
            ("build.gradle", "gradle build"),
            ("build.gradle.kts", "gradle build"),
        ];
        let Some((file, command)) = tools.iter().find(|(file, _)| self.source.join(file).is_file()) else {
            return Ok(Method::Plain);
        };
        bail!(
            "projects with a {file} are not built here: run `{command}` and let {} name the jar, or the folder with the classes and lib/*.jar; or write a Makefile with the target build-{}",
            self.artifact.property,
            self.artifact.resource
        )
    }

    /// The runtime to build for: a layer names it as its method.
    fn runtime(&self) -> &str {
        let method = self.artifact.build_method.as_deref().filter(|one| one.starts_with(['p', 'n']));
        self.artifact.runtime.as_deref().or(method).unwrap_or_default()
    }

    /// A setting among `Metadata.BuildProperties`.
    fn property(&self, name: &str) -> Option<&serde_json::Value> {
        self.artifact.metadata.get("BuildProperties")?.get(name)
    }

    fn say(&self, line: &str) {
        (self.say)(&format!("{}: {line}", self.artifact.resource));
    }
}

fn fixed(folder: PathBuf, prefix: &'static str) -> Part {
    Part { folder, prefix, is_fixed: true }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn artifact(path: &str, runtime: &str, method: Option<&str>) -> Artifact {
        Artifact {
            resource: "F".into(),
            property: "CodeUri",
            path: path.into(),
            runtime: Some(runtime.into()),
            handler: None,
            build_method: method.map(String::from),
            metadata: serde_json::Value::Null,
            is_published: false,
        }
    }

    #[test]
    fn the_same_code_gives_the_same_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
        fs::create_dir_all(folder.path().join("src/__pycache__")).expect("a folder");
        write("src/app.py", "x = 1");
        write("src/__pycache__/app.pyc", "never");
        let artifact = artifact("src", "python3.11", None);
        let first = pack(folder.path(), &artifact, &|_| {}).expect("it packs");
        write("src/app.py", "x = 1");
        let second = pack(folder.path(), &artifact, &|_| {}).expect("it packs");
        assert_eq!(first.digest, second.digest);
        let archive = zip::ZipArchive::new(std::io::Cursor::new(first.bytes)).expect("an archive");
        assert_eq!(archive.file_names().collect::<Vec<_>>(), ["app.py"]);
    }

    #[test]
    fn the_folder_and_the_template_say_how_to_build() {
        let folder = tempfile::tempdir().expect("a folder");
        let method = |runtime: &str, asked: Option<&str>| {
            let artifact = artifact(".", runtime, asked);
            Build { artifact: &artifact, source: folder.path().into(), say: &|_| {} }.method()
        };
        for (runtime, asked, expected) in [
            ("python3.12", None, Method::Python),
            ("nodejs20.x", None, Method::Node),
            ("nodejs20.x", Some("esbuild"), Method::Esbuild),
            ("provided.al2023", Some("rust-cargolambda"), Method::Rust),
            ("java21", None, Method::Plain),
        ] {
            assert_eq!(method(runtime, asked).expect("it is known"), expected, "{runtime} {asked:?}");
        }
        let refused = method("provided.al2023", None).expect_err("there is nothing");
        assert!(refused.to_string().contains("needs a program named bootstrap"));
        assert!(
            method("java21", Some("gradle")).expect_err("unknown").to_string().contains("not built here")
        );
        fs::write(folder.path().join("pom.xml"), "").expect("a file");
        let refused = method("java21", None).expect_err("a project").to_string();
        assert!(refused.contains("run `mvn package` and let CodeUri name the jar"), "{refused}");
        fs::write(folder.path().join("Cargo.toml"), "").expect("a file");
        assert_eq!(method("provided.al2023", None).expect("it is known"), Method::Rust);
        fs::write(folder.path().join("Makefile"), "build-F:\n\ttrue\n").expect("a file");
        assert_eq!(method("provided.al2", None).expect("it is known"), Method::Make);
    }
}
