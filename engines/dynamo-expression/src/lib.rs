//! DynamoDB's values and expressions, pure: no I/O, no clock, nothing of the platform.
//!
//! `value` and `number` are the data model, `encoding` its compact bytes and `key` its order-preserving ones.
//! Expressions are parsed with their names and values already resolved ([`Scope`]): `condition`, `update`,
//! `projection` and `key_condition` each have their type, parser and evaluation.

pub mod condition;
pub mod encoding;
pub mod error;
pub mod key;
pub mod key_condition;
mod lexer;
pub mod number;
mod operand;
pub mod path;
pub mod projection;
mod reserved;
mod scope;
pub mod update;
pub mod value;

pub use condition::Condition;
pub use error::Invalid;
pub use key_condition::{KeyCondition, RangeCondition};
pub use number::Number;
pub use operand::Operand;
pub use path::Path;
pub use projection::Projection;
pub use scope::Scope;
pub use update::Update;
pub use value::{AttributeValue, Item};
