//! Formats out: deltas of a view to bytes.
//!
//! Within one delta all deletions come before all insertions, both sorted by the relation's key
//! (or by the whole row), and changes that cancel are left out. Pieces are bounded in bytes, however
//! large a weight is.

use highwater_zset::Delta;

use crate::error::EncodeError;

/// Bytes after which a piece is closed.
pub const PIECE_BYTES_TARGET: usize = 1 << 20;

/// Turns the deltas of one relation into bytes.
pub trait Encoder: Send {
    /// Appends the changes to the stream, handing over one piece at a time.
    fn encode(
        &mut self,
        delta: &Delta,
        piece: &mut dyn FnMut(&[u8]) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError>;
}
