//! What a target receives instead of the event: `InputPath` picks a part of it, `InputTransformer` fills a template with
//! parts of it, `PipeTemplate` is the dialect of EventBridge Pipes. Pure: no I/O, no clock.
//! Source: the EventBridge user guide, "Amazon EventBridge input transformation" and "Pipes input transformation".

mod path;
mod pipe;
mod rule;
mod template;

pub use path::{InputPath, PathError};
pub use pipe::{PipeContext, PipeTemplate};
pub use rule::{InputTransformer, RuleContext};
pub use template::TemplateError;
