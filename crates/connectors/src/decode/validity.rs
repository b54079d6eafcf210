//! Which values of a growing column are not NULL; costs nothing per value while none is NULL.

use arrow::array::NullBufferBuilder;
use arrow::buffer::NullBuffer;

pub(crate) struct Validity {
    bits: NullBufferBuilder,
    last_is_null: bool,
}

impl Default for Validity {
    fn default() -> Self {
        Self {
            bits: NullBufferBuilder::new(0),
            last_is_null: false,
        }
    }
}

impl Validity {
    pub(crate) fn len(&self) -> usize {
        self.bits.len()
    }

    pub(crate) fn push_valid(&mut self) {
        self.bits.append_non_null();
        self.last_is_null = false;
    }

    pub(crate) fn push_null(&mut self) {
        self.bits.append_null();
        self.last_is_null = true;
    }

    /// True if the value pushed last is NULL; false after cutting back.
    pub(crate) fn ends_with_null(&self) -> bool {
        self.last_is_null
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.bits.truncate(length);
        self.last_is_null = false;
    }

    pub(crate) fn take(&mut self) -> Option<NullBuffer> {
        self.last_is_null = false;
        self.bits.finish()
    }
}
