//! CloudFormation's template language: text → typed [`Template`] → resolved properties. Pure: no I/O, no clock.
//!
//! `yaml` reads JSON and YAML with the short forms (`!Ref`), `template` checks the sections, `parameters` the values
//! given for them, `functions` evaluates intrinsic functions, `graph` says what depends on what. Macros other than SAM,
//! `Fn::ForEach` and modules are refused by name. Source: the CloudFormation user guide, "Template reference".

mod cidr;
mod error;
mod functions;
mod graph;
mod parameters;
mod template;
mod yaml;

pub use error::TemplateError;
pub use functions::{Known, Pseudo, Scope};
pub use graph::{Graph, references};
pub use parameters::{Given, Parameter, values};
pub use template::{Output, Policy, Resource, Template};
pub use yaml::read;
