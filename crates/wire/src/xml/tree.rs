//! A parsed XML document: elements in one vector, each with its text, attributes and children.

use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};
use tidemill_api::ReadError;

use crate::MAX_DEPTH;

/// A document; the root element is the first.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) elements: Vec<Element>,
}

#[derive(Debug)]
pub(crate) struct Element {
    /// Without its prefix.
    pub(crate) name: String,
    pub(crate) text: String,
    /// Names with their prefix (`xsi:type`).
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) children: Vec<usize>,
}

impl Tree {
    /// Parses a document. Entities other than the five of XML itself and character references are refused, so nothing
    /// is ever expanded or fetched.
    pub(crate) fn parse(text: &str) -> Result<Tree, ReadError> {
        let mut reader = Reader::from_str(text);
        let mut tree = Tree { elements: Vec::new() };
        let mut open: Vec<usize> = Vec::new();
        loop {
            match reader.read_event().map_err(|_| malformed())? {
                Event::Start(tag) => {
                    let index = tree.add(&tag, &open)?;
                    open.push(index);
                }
                Event::Empty(tag) => drop(tree.add(&tag, &open)?),
                Event::End(_) => drop(open.pop()),
                Event::Text(piece) => {
                    tree.push_text(&open, &piece.xml10_content())?;
                }
                Event::CData(piece) => {
                    tree.push_text(&open, &piece.xml10_content())?;
                }
                Event::GeneralRef(reference) => {
                    let resolved = match reference.resolve_char_ref().map_err(|_| malformed())? {
                        Some(c) => c.to_string(),
                        None => {
                            let entity = quick_xml::escape::resolve_xml_entity(&reference);
                            entity.ok_or_else(malformed)?.to_string()
                        }
                    };
                    tree.push_text(&open, &resolved)?;
                }
                Event::Eof => break,
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
        if tree.elements.is_empty() || !open.is_empty() {
            return Err(malformed());
        }
        Ok(tree)
    }

    fn add(&mut self, tag: &BytesStart, open: &[usize]) -> Result<usize, ReadError> {
        if open.len() >= MAX_DEPTH || (open.is_empty() && !self.elements.is_empty()) {
            return Err(malformed());
        }
        let name = tag.local_name().into_inner().to_string();
        let mut attributes = Vec::new();
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|_| malformed())?;
            let value = quick_xml::escape::unescape(&attribute.value).map_err(|_| malformed())?;
            attributes.push((attribute.key.into_inner().to_string(), value.into_owned()));
        }
        let index = self.elements.len();
        self.elements.push(Element { name, text: String::new(), attributes, children: Vec::new() });
        if let Some(parent) = open.last().and_then(|parent| self.elements.get_mut(*parent)) {
            parent.children.push(index);
        }
        Ok(index)
    }

    fn push_text(&mut self, open: &[usize], piece: &str) -> Result<(), ReadError> {
        match open.last().and_then(|index| self.elements.get_mut(*index)) {
            Some(element) => element.text.push_str(piece),
            None if piece.trim().is_empty() => {}
            None => return Err(malformed()),
        }
        Ok(())
    }
}

fn malformed() -> ReadError {
    ReadError::new(
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}
