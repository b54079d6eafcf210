//! Reading a batch only to see that it is whole.

use highwater_storage::Error as StorageError;

use super::FileBatch;
use crate::batch::Batch;
use crate::error::{Error, Result};

impl FileBatch {
    /// Reads every block: its checksum, that its rows hash to where the index says, that they are in
    /// order inside a block and from block to block, and that they are as many as the location says.
    /// The cache stays as it is. `read` hears the rows of each block; the result is their sum.
    ///
    /// # Errors
    /// The first thing that is wrong, or if the system refuses to read.
    pub fn verify(&self, read: &mut dyn FnMut(u64)) -> Result<u64> {
        let mut rows: u64 = 0;
        let mut before: Option<Batch> = None;
        for block in 0..self.blocks()? {
            let batch = self.read_block(block)?;
            if batch.is_empty() {
                continue;
            }
            if before.is_some_and(|before| before.rank(before.len() - 1) > batch.rank(0)) {
                return Err(self.corrupt(format!("its block {block} is out of order")));
            }
            rows += batch.len() as u64;
            read(batch.len() as u64);
            before = Some(batch);
        }
        if rows != self.location.rows {
            let expected = self.location.rows;
            let message = format!("has {rows} rows where its checkpoint says {expected}");
            return Err(self.corrupt(message));
        }
        Ok(rows)
    }

    fn corrupt(&self, message: String) -> Error {
        StorageError::corrupt(self.file().path(), message).into()
    }
}
