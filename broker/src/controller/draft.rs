//! Records that are made in steps, each on the image that the steps before lead to.

use ottla_quorum::{MetadataImage, MetadataRecord};

/// An image and the records that led to it.
pub(crate) struct Draft {
    image: MetadataImage,
    records: Vec<MetadataRecord>,
}

impl Draft {
    /// No step was made.
    pub(crate) fn new(image: &MetadataImage) -> Self {
        Self { image: image.clone(), records: Vec::new() }
    }

    /// What everything so far leads to.
    pub(crate) fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// A step's records, made on [`Draft::image`].
    pub(crate) fn push(&mut self, records: impl IntoIterator<Item = MetadataRecord>) {
        for record in records {
            self.image.apply(&record).expect("records fit the image that they were made on");
            self.records.push(record);
        }
    }

    /// All records.
    pub(crate) fn into_records(self) -> Vec<MetadataRecord> {
        self.records
    }
}
