//! The input or output of an operation that has none.

use crate::{Kind, ReadError, Reader, Schema, Shape, WriteShape, Writer};

pub static SCHEMA: Schema = Schema::plain("Unit", Kind::Structure);

/// No members at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unit;

impl Shape for Unit {
    fn schema() -> &'static Schema {
        &SCHEMA
    }

    fn read(reader: &mut dyn Reader) -> Result<Unit, ReadError> {
        reader.begin_structure(&SCHEMA)?;
        while reader.next_member()?.is_some() {}
        Ok(Unit)
    }
}

impl WriteShape for Unit {
    fn write(&self, writer: &mut dyn Writer) {
        writer.begin_structure(&SCHEMA);
        writer.end_structure();
    }
}
