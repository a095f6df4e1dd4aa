//! Reads shapes out of an XML tree, member by member in the contract's order. Names are matched without prefixes; what
//! the root element is called does not matter.

use tidemill_api::{At, Member, ReadError, Reader, Schema};

use super::tree::{Element, Tree};
use crate::scalar::text_methods;

pub(crate) struct XmlReader {
    tree: Tree,
    frames: Vec<Frame>,
    current: Current,
}

/// What the next call reads.
enum Current {
    Element(usize),
    /// Elements of a flattened list or map.
    Elements(Vec<usize>),
    Attribute(String),
}

struct Frame {
    schema: &'static Schema,
    /// A structure's element; for lists and maps unused.
    element: usize,
    items: Vec<usize>,
    /// The next member or item.
    next: usize,
}

impl XmlReader {
    pub(crate) fn new(tree: Tree) -> XmlReader {
        XmlReader { tree, frames: Vec::new(), current: Current::Element(0) }
    }

    fn element(&self, index: usize) -> Result<&Element, ReadError> {
        self.tree.elements.get(index).ok_or_else(|| ReadError::new("an element is missing"))
    }

    fn named(&self, parent: usize, name: &str) -> Vec<usize> {
        let name = name.rsplit(':').next().unwrap_or(name);
        let children = self.tree.elements.get(parent).map(|element| element.children.as_slice());
        let matches =
            |index: &&usize| self.tree.elements.get(**index).is_some_and(|child| child.name == name);
        children.unwrap_or_default().iter().filter(matches).copied().collect()
    }

    /// Where a member's value stands in its parent; `None` when it does not.
    fn find(&self, parent: usize, member: &Member) -> Option<Current> {
        if member.xml_attribute {
            let attributes = &self.tree.elements.get(parent)?.attributes;
            let found = attributes.iter().find(|(name, _)| name == member.wire)?;
            return Some(Current::Attribute(found.1.clone()));
        }
        let found = self.named(parent, member.wire);
        if !member.flattened && !member.schema().flattened {
            return found.last().copied().map(Current::Element);
        }
        if !found.is_empty() {
            return Some(Current::Elements(found));
        }
        // A flattened list whose element's own name is used instead of the member's.
        let part = member.schema().members.first().filter(|part| part.named && !member.named)?;
        let found = self.named(parent, part.wire);
        (!found.is_empty()).then_some(Current::Elements(found))
    }

    fn items(&self, name: &str) -> Vec<usize> {
        match &self.current {
            Current::Element(index) => self.named(*index, name),
            Current::Elements(items) => items.clone(),
            Current::Attribute(_) => Vec::new(),
        }
    }

    fn next_item(&mut self) -> Option<usize> {
        let frame = self.frames.last_mut()?;
        let item = frame.items.get(frame.next).copied();
        frame.next += 1;
        if item.is_none() {
            self.frames.pop();
        }
        item
    }

    fn text(&self) -> Result<String, ReadError> {
        match &self.current {
            Current::Element(index) => Ok(self.element(*index)?.text.clone()),
            Current::Elements(items) => Ok(items
                .last()
                .map(|index| self.element(*index))
                .transpose()?
                .map(|e| e.text.clone())
                .unwrap_or_default()),
            Current::Attribute(text) => Ok(text.clone()),
        }
    }
}

impl Reader for XmlReader {
    fn begin_structure(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        let element = match &self.current {
            Current::Element(index) => *index,
            Current::Elements(items) => items.last().copied().unwrap_or(0),
            Current::Attribute(_) => return Err(ReadError::new("an attribute holds no structure")),
        };
        self.frames.push(Frame { schema, element, items: Vec::new(), next: 0 });
        Ok(())
    }

    fn next_member(&mut self) -> Result<Option<usize>, ReadError> {
        while let Some(frame) = self.frames.last_mut() {
            let (index, parent) = (frame.next, frame.element);
            let Some(member) = frame.schema.members.get(index) else { break };
            frame.next += 1;
            if member.at != At::Body {
                continue;
            }
            if let Some(current) = self.find(parent, member) {
                self.current = current;
                return Ok(Some(index));
            }
        }
        self.frames.pop();
        Ok(None)
    }

    fn begin_list(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        let items = self.items(schema.members.first().map_or("member", |part| part.wire));
        self.frames.push(Frame { schema, element: 0, items, next: 0 });
        Ok(())
    }

    fn next_element(&mut self) -> Result<bool, ReadError> {
        let item = self.next_item();
        if let Some(item) = item {
            self.current = Current::Element(item);
        }
        Ok(item.is_some())
    }

    fn begin_map(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        let items = self.items("entry");
        self.frames.push(Frame { schema, element: 0, items, next: 0 });
        Ok(())
    }

    fn next_key(&mut self) -> Result<Option<String>, ReadError> {
        loop {
            let Some(schema) = self.frames.last().map(|frame| frame.schema) else { return Ok(None) };
            let Some(entry) = self.next_item() else { return Ok(None) };
            let part = |index: usize, usual| schema.members.get(index).map_or(usual, |part| part.wire);
            let key = self.named(entry, part(0, "key")).last().copied();
            let value = self.named(entry, part(1, "value")).last().copied();
            if let (Some(key), Some(value)) = (key, value) {
                self.current = Current::Element(value);
                return Ok(Some(self.element(key)?.text.clone()));
            }
        }
    }

    text_methods!();
}
