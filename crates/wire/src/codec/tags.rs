//! Tagged fields: those of the schema, and those that a newer peer sent.

use bytes::Bytes;

use super::encoder::Encoder;
use super::error::EncodeFault;
use super::parts::Parts;

/// A tagged field that this version of the schema does not know. It is kept and written again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawTaggedField {
    /// Identifies the field within its struct.
    pub tag: u32,
    /// The field's content.
    pub data: Bytes,
}

/// Collects a struct's tagged fields, since their number and sizes precede them.
#[derive(Debug, Default)]
pub struct Tags {
    fields: Vec<(u32, Parts)>,
}

impl Tags {
    /// No field yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field with what `write` writes.
    pub fn push(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Encoder) -> Result<(), EncodeFault>,
    ) -> Result<(), EncodeFault> {
        let mut content = Encoder::new();
        write(&mut content)?;
        self.fields.push((tag, content.finish()));
        Ok(())
    }
}

impl Encoder {
    /// Writes a section of tagged fields, in the order of their tags.
    pub fn tags(&mut self, known: Tags, unknown: &[RawTaggedField]) -> Result<(), EncodeFault> {
        if known.fields.is_empty() && unknown.is_empty() {
            self.unsigned_varint(0);
            return Ok(());
        }
        let mut fields = known.fields;
        for field in unknown {
            let mut content = Encoder::new();
            content.raw(&field.data);
            fields.push((field.tag, content.finish()));
        }
        fields.sort_by_key(|(tag, _)| *tag);
        self.unsigned_varint(prefix(fields.len())?);
        let mut previous = None;
        for (tag, content) in fields {
            if previous.replace(tag) == Some(tag) {
                return Err(EncodeFault::DuplicateTag(tag));
            }
            self.unsigned_varint(tag);
            self.unsigned_varint(prefix(content.len())?);
            self.parts(content);
        }
        Ok(())
    }

    /// Writes a section of tagged fields none of which is the schema's.
    pub fn unknown_tags(&mut self, unknown: &[RawTaggedField]) -> Result<(), EncodeFault> {
        self.tags(Tags::new(), unknown)
    }
}

fn prefix(len: usize) -> Result<u32, EncodeFault> {
    u32::try_from(len).map_err(|_| EncodeFault::TooLong(len))
}
