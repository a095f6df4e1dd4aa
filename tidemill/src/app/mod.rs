//! An application on disk: its template, its code packed, deployed as a stack.

pub mod build;
pub mod deploy;
pub mod template;

pub use template::App;
