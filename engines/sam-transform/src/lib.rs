//! The transform `AWS::Serverless-2016-10-31`: SAM resources → plain CloudFormation, with the logical ids and shapes of
//! AWS's own translator (`tests/oracle.py` compares). Pure: values in, values out.
//!
//! `transform` is the entry. `function` is the longest part; `events` makes what triggers functions, `policies` their
//! roles' permissions, `artifacts` finds code on the local disk for whoever uploads it. Resource types and properties that are not translated yet
//! (`Api`, `HttpApi`, `StateMachine`, `Connector`, deployment preferences, …) are refused by name.
//! Source: the AWS SAM developer guide, "AWS SAM resources and properties".

mod artifacts;
mod error;
mod events;
mod function;
mod globals;
mod layer;
mod made;
mod policies;
mod references;
mod simple_table;
mod transform;

pub use artifacts::{Artifact, local_artifacts, replace};
pub use error::SamError;
pub use transform::{NAME, transform};
