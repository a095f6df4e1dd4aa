//! What is measured, a suite a module.

pub mod dynamodb;
pub mod events;
pub mod idle;
pub mod lambda;
pub mod pipeline;
pub mod s3;
pub mod sns;
pub mod sqs;
pub mod start;
