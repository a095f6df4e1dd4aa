//! Typed tables: a name and the types of its keys and rows.

use std::marker::PhantomData;

/// A table of rows `V` under keys `K`. Declared as a constant by whoever owns it; the name is for ever.
pub struct Table<K, V> {
    pub(crate) name: &'static str,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Table<K, V> {
    pub const fn new(name: &'static str) -> Table<K, V> {
        Table { name, types: PhantomData }
    }
}
