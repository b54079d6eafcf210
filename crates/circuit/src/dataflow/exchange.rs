//! Moves rows to the workers that own their keys.
//!
//! The sending fragment splits each delta by key hash; what stays at home never enters timely. What
//! leaves is a [`Parcel`] per peer. Timely counts the pieces of a parcel and needs the sum pushed to
//! equal the sum received, so the distributor below only hands parcels on.

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use highwater_zset::{Delta, RowHasher};
use timely::Accountable;
use timely::bytes::arc::Bytes;
use timely::communication::Push;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message, Stamp};

use crate::operators::OperatorError;

/// Rows on their way to a node of the next fragment.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub source: usize,
    /// The exchange's position in the plan.
    pub exchange: usize,
    pub delta: Delta,
}

/// What one worker sends to another in one epoch: timely's container.
#[derive(Clone, Debug, Default)]
pub(super) struct Parcel {
    pub peer: usize,
    pub pieces: Vec<Piece>,
}

impl Accountable for Parcel {
    fn record_count(&self) -> i64 {
        self.pieces.len() as i64
    }
}

/// Timely asks for bytes only between processes. Workers are threads of one process, whose
/// parcels move as they are.
impl ContainerBytes for Parcel {
    fn from_bytes(_bytes: Bytes) -> Self {
        unreachable!("workers of one process exchange no bytes")
    }
    fn length_in_bytes(&self) -> usize {
        unreachable!("workers of one process exchange no bytes")
    }
    fn into_bytes<W: std::io::Write>(&self, _writer: &mut W) {
        unreachable!("workers of one process exchange no bytes")
    }
}

/// Sends a parcel where it is addressed to.
pub(super) struct ByAddress;

impl Distributor<Parcel> for ByAddress {
    fn partition<T: Clone, P: Push<Message<T, Parcel>>>(
        &mut self,
        parcel: &mut Parcel,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        let peer = parcel.peer;
        Message::push_at(parcel, stamp.clone(), &mut pushers[peer]);
    }

    fn flush<T: Clone, P: Push<Message<T, Parcel>>>(
        &mut self,
        _stamp: &Stamp<T>,
        _pushers: &mut [P],
    ) {
    }
}

/// The rows of each worker, in order; `None` for workers that get none.
pub(super) fn split(
    delta: &Delta,
    key: &[usize],
    hasher: RowHasher,
    workers: usize,
) -> Result<Vec<Option<Delta>>, OperatorError> {
    let rows = delta.rows();
    let selections = owners(rows, key, hasher, workers);
    let mut parts = vec![None; workers];
    for (part, selection) in parts.iter_mut().zip(selections) {
        *part = match selection {
            Selection::None => None,
            Selection::All => Some(delta.clone()),
            Selection::Some(indices) => {
                let weights = indices
                    .values()
                    .iter()
                    .map(|&row| delta.weights()[row as usize]);
                let weights = weights.collect();
                Some(Delta::new(take_record_batch(rows, &indices)?, weights))
            }
        };
    }
    Ok(parts)
}

/// Which rows a worker gets.
pub(super) enum Selection {
    None,
    All,
    Some(UInt32Array),
}

/// Which rows each worker owns, by the hash of their key.
pub(super) fn owners(
    rows: &RecordBatch,
    key: &[usize],
    hasher: RowHasher,
    workers: usize,
) -> Vec<Selection> {
    let columns: Vec<ArrayRef> = key
        .iter()
        .map(|&column| rows.column(column).clone())
        .collect();
    let hashes = hasher.hash(&columns, rows.num_rows());
    let mut indices = vec![Vec::with_capacity(hashes.len() / workers + 16); workers];
    for (row, hash) in (0u32..).zip(hashes) {
        indices[RowHasher::owner(hash, workers)].push(row);
    }
    indices
        .into_iter()
        .map(|indices| match indices.len() {
            0 => Selection::None,
            all if all == rows.num_rows() => Selection::All,
            _ => Selection::Some(UInt32Array::from(indices)),
        })
        .collect()
}

/// One parcel per peer that gets anything.
#[derive(Debug)]
pub(super) struct Outbox {
    parcels: Vec<Parcel>,
}

impl Outbox {
    pub(super) fn new(workers: usize) -> Self {
        let parcels = (0..workers)
            .map(|peer| Parcel {
                peer,
                pieces: Vec::new(),
            })
            .collect();
        Self { parcels }
    }

    pub(super) fn post(&mut self, peer: usize, piece: Piece) {
        self.parcels[peer].pieces.push(piece);
    }

    pub(super) fn into_parcels(self) -> impl Iterator<Item = Parcel> {
        self.parcels
            .into_iter()
            .filter(|parcel| !parcel.pieces.is_empty())
    }
}
