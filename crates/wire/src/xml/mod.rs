//! XML documents: a writer for query and REST-XML answers, and a small tree that requests are read from.

mod read;
mod tree;
mod write;

pub(crate) use read::XmlReader;
pub(crate) use tree::Tree;
pub(crate) use write::{Root, XmlWriter};
