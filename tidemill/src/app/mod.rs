//! An application on disk: its template, what it is deployed with, its code packed, deployed as a stack.

pub mod build;
pub mod deploy;
pub mod overrides;
pub mod samconfig;
pub mod settings;
pub mod template;
pub mod watch;

pub use settings::Settings;
pub use template::App;
