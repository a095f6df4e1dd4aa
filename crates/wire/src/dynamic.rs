//! A value of any shape as a tree, where there is no generated type: to word validation errors, to complete error
//! structures, to test the codecs. Its schema may be put together while running (`tidemill_api::Target::Late`).

use tidemill_api::{Bytes, Document, Kind, Member, ReadError, Reader, Schema, Timestamp, WriteShape, Writer};

use crate::scalar::{Scalar, scalar_methods};

/// A value with the schema it was read or written by.
#[derive(Debug, Clone)]
pub enum Dynamic {
    /// Members by their index in the schema, in the order they came.
    Structure(&'static Schema, Vec<(usize, Dynamic)>),
    List(&'static Schema, Vec<Dynamic>),
    Map(&'static Schema, Vec<(String, Dynamic)>),
    String(&'static Schema, String),
    Boolean(&'static Schema, bool),
    Integer(&'static Schema, i32),
    Long(&'static Schema, i64),
    Float(&'static Schema, f32),
    Double(&'static Schema, f64),
    Blob(&'static Schema, Bytes),
    Timestamp(&'static Schema, Timestamp),
    Document(&'static Schema, Document),
}

impl Dynamic {
    /// Reads a value of `schema`. The reader bounds the nesting.
    pub fn read(schema: &'static Schema, reader: &mut dyn Reader) -> Result<Dynamic, ReadError> {
        Ok(match schema.kind {
            Kind::Structure | Kind::Union => Dynamic::structure(schema, reader)?,
            Kind::List => Dynamic::list(schema, reader)?,
            Kind::Map => Dynamic::map(schema, reader)?,
            Kind::String => Dynamic::String(schema, reader.string(schema)?),
            Kind::Boolean => Dynamic::Boolean(schema, reader.boolean(schema)?),
            Kind::Integer => Dynamic::Integer(schema, reader.integer(schema)?),
            Kind::Long => Dynamic::Long(schema, reader.long(schema)?),
            Kind::Float => Dynamic::Float(schema, reader.float(schema)?),
            Kind::Double => Dynamic::Double(schema, reader.double(schema)?),
            Kind::Blob => Dynamic::Blob(schema, reader.blob(schema)?),
            Kind::Timestamp => Dynamic::Timestamp(schema, reader.timestamp(schema)?),
            Kind::Document => Dynamic::Document(schema, reader.document(schema)?),
        })
    }

    /// The tree of a typed value. A stream of events in it is left out.
    pub fn of(shape: &dyn WriteShape) -> Option<Dynamic> {
        let mut writer = TreeWriter { open: Vec::new(), done: None };
        shape.write(&mut writer);
        writer.done
    }

    fn structure(schema: &'static Schema, reader: &mut dyn Reader) -> Result<Dynamic, ReadError> {
        reader.begin_structure(schema)?;
        let mut members: Vec<(usize, Dynamic)> = Vec::new();
        while let Some(index) = reader.next_member()? {
            let member = schema.members.get(index).ok_or_else(|| ReadError::new("unknown member"))?;
            let value = Dynamic::read(member.schema(), reader)?;
            members.retain(|(known, _)| *known != index);
            members.push((index, value));
        }
        Ok(Dynamic::Structure(schema, members))
    }

    fn list(schema: &'static Schema, reader: &mut dyn Reader) -> Result<Dynamic, ReadError> {
        reader.begin_list(schema)?;
        let mut elements = Vec::new();
        while reader.next_element()? {
            elements.push(Dynamic::read(part(schema, 0)?, reader)?);
        }
        Ok(Dynamic::List(schema, elements))
    }

    fn map(schema: &'static Schema, reader: &mut dyn Reader) -> Result<Dynamic, ReadError> {
        reader.begin_map(schema)?;
        let mut entries = Vec::new();
        while let Some(key) = reader.next_key()? {
            entries.push((key, Dynamic::read(part(schema, 1)?, reader)?));
        }
        Ok(Dynamic::Map(schema, entries))
    }

    pub fn schema(&self) -> &'static Schema {
        match self {
            Dynamic::Structure(schema, _)
            | Dynamic::List(schema, _)
            | Dynamic::Map(schema, _)
            | Dynamic::String(schema, _)
            | Dynamic::Boolean(schema, _)
            | Dynamic::Integer(schema, _)
            | Dynamic::Long(schema, _)
            | Dynamic::Float(schema, _)
            | Dynamic::Double(schema, _)
            | Dynamic::Blob(schema, _)
            | Dynamic::Timestamp(schema, _)
            | Dynamic::Document(schema, _) => schema,
        }
    }

    /// The member with this name in the model.
    pub fn member(&self, name: &str) -> Option<&Dynamic> {
        let Dynamic::Structure(schema, members) = self else { return None };
        let at = schema.members.iter().position(|member| member.name == name)?;
        members.iter().find(|(index, _)| *index == at).map(|(_, value)| value)
    }
}

/// The element of a list, the key or value of a map.
fn part(schema: &'static Schema, index: usize) -> Result<&'static Schema, ReadError> {
    let member = schema.members.get(index).ok_or_else(|| ReadError::new("a collection without parts"))?;
    Ok(member.schema())
}

impl WriteShape for Dynamic {
    fn write(&self, writer: &mut dyn Writer) {
        match self {
            Dynamic::Structure(schema, members) => {
                writer.begin_structure(schema);
                for (index, value) in members {
                    if let Some(member) = schema.members.get(*index) {
                        writer.member(member);
                        value.write(writer);
                    }
                }
                writer.end_structure();
            }
            Dynamic::List(schema, elements) => {
                writer.begin_list(schema, elements.len());
                for element in elements {
                    writer.element();
                    element.write(writer);
                }
                writer.end_list();
            }
            Dynamic::Map(schema, entries) => {
                writer.begin_map(schema, entries.len());
                for (key, value) in entries {
                    writer.key(key);
                    value.write(writer);
                }
                writer.end_map();
            }
            Dynamic::String(schema, value) => writer.string(schema, value),
            Dynamic::Boolean(schema, value) => writer.boolean(schema, *value),
            Dynamic::Integer(schema, value) => writer.integer(schema, *value),
            Dynamic::Long(schema, value) => writer.long(schema, *value),
            Dynamic::Float(schema, value) => writer.float(schema, *value),
            Dynamic::Double(schema, value) => writer.double(schema, *value),
            Dynamic::Blob(schema, value) => writer.blob(schema, value),
            Dynamic::Timestamp(schema, value) => writer.timestamp(schema, *value),
            Dynamic::Document(schema, value) => writer.document(schema, value),
        }
    }
}

/// Builds a tree out of the calls a shape makes.
struct TreeWriter {
    /// Collections begun and not ended, each with the place its next value goes to.
    open: Vec<(Dynamic, Place)>,
    done: Option<Dynamic>,
}

enum Place {
    Member(usize),
    Element,
    Key(String),
}

impl TreeWriter {
    fn put(&mut self, value: Dynamic) {
        match self.open.last_mut() {
            None => self.done = Some(value),
            Some((Dynamic::Structure(_, members), Place::Member(index))) => members.push((*index, value)),
            Some((Dynamic::List(_, elements), _)) => elements.push(value),
            Some((Dynamic::Map(_, entries), Place::Key(key))) => entries.push((std::mem::take(key), value)),
            Some(_) => {}
        }
    }

    fn end(&mut self) {
        if let Some((value, _)) = self.open.pop() {
            self.put(value);
        }
    }

    fn place(&mut self, place: Place) {
        if let Some((_, at)) = self.open.last_mut() {
            *at = place;
        }
    }

    fn scalar(&mut self, schema: &'static Schema, value: Scalar) {
        self.put(match value {
            Scalar::String(value) => Dynamic::String(schema, value.into()),
            Scalar::Boolean(value) => Dynamic::Boolean(schema, value),
            Scalar::Integer(value) => Dynamic::Integer(schema, value),
            Scalar::Long(value) => Dynamic::Long(schema, value),
            Scalar::Float(value) => Dynamic::Float(schema, value),
            Scalar::Double(value) => Dynamic::Double(schema, value),
            Scalar::Blob(value) => Dynamic::Blob(schema, value.clone()),
            Scalar::Timestamp(value) => Dynamic::Timestamp(schema, value),
            Scalar::Document(value) => Dynamic::Document(schema, value.clone()),
        });
    }
}

impl Writer for TreeWriter {
    fn begin_structure(&mut self, schema: &'static Schema) {
        self.open.push((Dynamic::Structure(schema, Vec::new()), Place::Element));
    }

    fn member(&mut self, member: &'static Member) {
        let Some((Dynamic::Structure(schema, _), _)) = self.open.last() else { return };
        let index = schema.members.iter().position(|known| std::ptr::eq(known, member));
        self.place(Place::Member(index.unwrap_or(usize::MAX)));
    }

    fn end_structure(&mut self) {
        self.end();
    }

    fn begin_list(&mut self, schema: &'static Schema, len: usize) {
        self.open.push((Dynamic::List(schema, Vec::with_capacity(len)), Place::Element));
    }

    fn element(&mut self) {}

    fn end_list(&mut self) {
        self.end();
    }

    fn begin_map(&mut self, schema: &'static Schema, len: usize) {
        self.open.push((Dynamic::Map(schema, Vec::with_capacity(len)), Place::Element));
    }

    fn key(&mut self, key: &str) {
        self.place(Place::Key(key.into()));
    }

    fn end_map(&mut self) {
        self.end();
    }

    scalar_methods!();
}
