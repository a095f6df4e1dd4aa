//! Writes XML. A member is announced before its value is known to be a list, a map or a scalar, so its name waits in
//! `pending` until the value says which elements it needs.

use std::borrow::Cow;

use tidemill_api::{Member, Schema, TimeFormat, Writer};

use crate::scalar::{Scalar, scalar_methods};

type Name = Cow<'static, str>;
/// Prefix (empty for the default namespace) and URI.
type Namespace = Option<(&'static str, &'static str)>;

/// The outermost element; none at all when the name is empty.
#[derive(Debug, Default)]
pub(crate) struct Root {
    pub(crate) name: Name,
    pub(crate) namespace: Namespace,
}

pub(crate) struct XmlWriter {
    out: String,
    frames: Vec<Frame>,
    pending: Option<Pending>,
}

struct Pending {
    name: Name,
    /// The name was chosen for this member, so a flattened list's elements bear it too.
    named: bool,
    flattened: bool,
    attribute: bool,
    namespace: Namespace,
    time_format: Option<TimeFormat>,
}

enum Frame {
    /// `attributes` is where in the start tag they go.
    Structure {
        name: Name,
        attributes: usize,
    },
    List {
        wrapper: Option<Name>,
        element: Name,
        namespace: Namespace,
    },
    Map {
        wrapper: Option<Name>,
        entry: Name,
        open: bool,
        schema: &'static Schema,
    },
}

impl XmlWriter {
    pub(crate) fn new(root: Root) -> XmlWriter {
        let named = !root.name.is_empty();
        let pending = named.then(|| Pending { namespace: root.namespace, ..Pending::of(root.name) });
        XmlWriter { out: String::with_capacity(512), frames: Vec::new(), pending }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out.into_bytes()
    }

    pub(crate) fn open(&mut self, name: &str, namespace: Option<&'static str>) {
        self.start(name, namespace.map(|uri| ("", uri)));
        self.out.push('>');
    }

    pub(crate) fn close(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    pub(crate) fn leaf(&mut self, name: &str, text: &str) {
        self.open(name, None);
        push_escaped(&mut self.out, text);
        self.close(name);
    }

    /// A start tag without its `>`; answers where attributes may be put in.
    fn start(&mut self, name: &str, namespace: Namespace) -> usize {
        self.out.push('<');
        self.out.push_str(name);
        if let Some((prefix, uri)) = namespace {
            self.out.push_str(" xmlns");
            if !prefix.is_empty() {
                self.out.push(':');
                self.out.push_str(prefix);
            }
            self.out.push_str("=\"");
            push_escaped(&mut self.out, uri);
            self.out.push('"');
        }
        self.out.len()
    }

    fn take_pending(&mut self) -> Pending {
        self.pending.take().unwrap_or_else(|| Pending::of(Cow::Borrowed("")))
    }

    fn wrapper(&mut self, pending: &Pending, flattened: bool) -> Option<Name> {
        if flattened || pending.name.is_empty() {
            return None;
        }
        self.start(&pending.name, pending.namespace);
        self.out.push('>');
        Some(pending.name.clone())
    }

    fn scalar(&mut self, schema: &'static Schema, value: Scalar) {
        let pending = self.take_pending();
        let format = pending.time_format.or(schema.time_format).unwrap_or(TimeFormat::Iso8601);
        let text = value.to_text(format);
        if pending.attribute {
            return self.attribute(&pending.name, &text);
        }
        if pending.name.is_empty() {
            return push_escaped(&mut self.out, &text);
        }
        self.start(&pending.name, pending.namespace);
        self.out.push('>');
        push_escaped(&mut self.out, &text);
        self.close(&pending.name);
    }

    fn attribute(&mut self, name: &str, text: &str) {
        let Some(Frame::Structure { attributes, .. }) = self.frames.last_mut() else { return };
        let mut attribute = format!(" {name}=\"");
        push_escaped(&mut attribute, text);
        attribute.push('"');
        self.out.insert_str(*attributes, &attribute);
        *attributes += attribute.len();
    }
}

impl Pending {
    fn of(name: Name) -> Pending {
        Pending { name, named: false, flattened: false, attribute: false, namespace: None, time_format: None }
    }
}

impl Writer for XmlWriter {
    fn begin_structure(&mut self, _: &'static Schema) {
        let pending = self.take_pending();
        let mut attributes = self.out.len();
        if !pending.name.is_empty() {
            attributes = self.start(&pending.name, pending.namespace);
            self.out.push('>');
        }
        self.frames.push(Frame::Structure { name: pending.name, attributes });
    }

    fn member(&mut self, member: &'static Member) {
        self.pending = Some(Pending {
            name: Cow::Borrowed(member.wire),
            named: member.named,
            flattened: member.flattened,
            attribute: member.xml_attribute,
            namespace: member.xml_namespace,
            time_format: member.time_format,
        });
    }

    fn end_structure(&mut self) {
        if let Some(Frame::Structure { name, .. }) = self.frames.pop()
            && !name.is_empty()
        {
            self.close(&name);
        }
    }

    fn begin_list(&mut self, schema: &'static Schema, _: usize) {
        let pending = self.take_pending();
        let flattened = pending.flattened || schema.flattened;
        let wrapper = self.wrapper(&pending, flattened);
        let part = schema.members.first();
        let own = part.filter(|part| part.named || !flattened).map(|part| Cow::Borrowed(part.wire));
        let element = match own {
            Some(name) if !flattened || !pending.named => name,
            _ if flattened => pending.name,
            _ => Cow::Borrowed("member"),
        };
        let namespace = if flattened { pending.namespace } else { part.and_then(|part| part.xml_namespace) };
        self.frames.push(Frame::List { wrapper, element, namespace });
    }

    fn element(&mut self) {
        if let Some(Frame::List { element, namespace, .. }) = self.frames.last() {
            self.pending = Some(Pending { namespace: *namespace, ..Pending::of(element.clone()) });
        }
    }

    fn end_list(&mut self) {
        if let Some(Frame::List { wrapper: Some(name), .. }) = self.frames.pop() {
            self.close(&name);
        }
    }

    fn begin_map(&mut self, schema: &'static Schema, _: usize) {
        let pending = self.take_pending();
        let flattened = pending.flattened || schema.flattened;
        let wrapper = self.wrapper(&pending, flattened);
        let entry = if flattened { pending.name } else { Cow::Borrowed("entry") };
        self.frames.push(Frame::Map { wrapper, entry, open: false, schema });
    }

    fn key(&mut self, key: &str) {
        let Some(Frame::Map { entry, open, schema, .. }) = self.frames.last_mut() else { return };
        let (entry, was_open, schema) = (entry.clone(), std::mem::replace(open, true), *schema);
        if was_open {
            self.close(&entry);
        }
        self.open(&entry, None);
        let part = |index: usize, usual| schema.members.get(index).map_or(usual, |part| part.wire);
        let namespace = |index: usize| schema.members.get(index).and_then(|part| part.xml_namespace);
        self.pending =
            Some(Pending { namespace: namespace(0), ..Pending::of(Cow::Borrowed(part(0, "key"))) });
        self.scalar(schema, Scalar::String(key));
        self.pending =
            Some(Pending { namespace: namespace(1), ..Pending::of(Cow::Borrowed(part(1, "value"))) });
    }

    fn end_map(&mut self) {
        let Some(Frame::Map { wrapper, entry, open, .. }) = self.frames.pop() else { return };
        if open {
            self.close(&entry);
        }
        if let Some(name) = wrapper {
            self.close(&name);
        }
    }

    scalar_methods!();
}

/// Text for element content and attribute values alike. Control characters stand as references, as AWS prints them.
fn push_escaped(out: &mut String, text: &str) {
    for piece in text.split_inclusive(|c: char| matches!(c, '&' | '<' | '>' | '"' | '\r') || is_control(c)) {
        let Some(last) = piece.chars().next_back() else { continue };
        let escape = match last {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' => "&quot;",
            _ if last == '\r' || is_control(last) => "",
            _ => {
                out.push_str(piece);
                continue;
            }
        };
        out.push_str(piece.strip_suffix(last).unwrap_or(piece));
        if escape.is_empty() {
            out.push_str(&format!("&#x{:X};", u32::from(last)));
        } else {
            out.push_str(escape);
        }
    }
}

fn is_control(c: char) -> bool {
    c < ' ' && c != '\n' && c != '\t'
}
