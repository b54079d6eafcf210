//! The contents of one simulated file: what is certain, what was written since, and what a loss of
//! power may make of the difference.

use std::ops::Range;
use std::sync::Arc;

/// The largest piece that a disk writes wholly or not at all.
pub const SECTOR_BYTES: usize = 512;

/// A file's bytes.
///
/// Invariants
/// - I1: outside of `dirty`, `current` equals `durable` (unless the file was rewritten).
/// - I2: ranges of `dirty` are in order, without overlap and never empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// What survives a loss of power, whatever happens. Lost bytes below its end are zeros.
    durable: Arc<Vec<u8>>,
    /// What the running system reads.
    current: Arc<Vec<u8>>,
    dirty: Vec<Dirty>,
    /// `current` replaces all of `durable` instead of continuing it.
    is_rewritten: bool,
}

#[derive(Clone, Debug)]
struct Dirty {
    range: Range<usize>,
    /// A sync of it failed: the system holds it for written, and no later sync writes it.
    is_doubtful: bool,
}

/// What became of the bytes of a file that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    Lost,
    Kept,
    /// The file ends at this byte; nothing behind it was written.
    Cut(usize),
    /// The file has its length, the data never came: zeros.
    Zeros,
    /// The file has its length; sector `n` of the data came if bit `n % 64` is set, else zeros.
    Mixed(u64),
}

impl Content {
    pub(crate) fn certain(bytes: Arc<Vec<u8>>) -> Self {
        Self {
            durable: Arc::clone(&bytes),
            current: bytes,
            dirty: Vec::new(),
            is_rewritten: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.current.len()
    }

    pub(crate) fn bytes(&self) -> &Arc<Vec<u8>> {
        &self.current
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = self.current.len();
        Arc::make_mut(&mut self.current).extend_from_slice(bytes);
        let end = self.current.len();
        match self.dirty.last_mut() {
            Some(last) if last.range.end == start && !last.is_doubtful => last.range.end = end,
            _ => self.dirty.push(Dirty {
                range: start..end,
                is_doubtful: false,
            }),
        }
    }

    /// Truncates and writes, as for a lock file.
    pub(crate) fn rewrite(&mut self, bytes: &[u8]) {
        self.current = Arc::new(bytes.to_vec());
        self.is_rewritten = true;
        self.dirty.clear();
        self.dirty.push(Dirty {
            range: 0..bytes.len(),
            is_doubtful: false,
        });
    }

    /// Everything that no failed sync has touched becomes certain.
    pub(crate) fn sync(&mut self) {
        if self.dirty.is_empty() {
            return;
        }
        if self.is_rewritten && self.dirty.iter().any(|dirty| !dirty.is_doubtful) {
            self.durable = Arc::default();
            self.is_rewritten = false;
        }
        let (doubtful, clean): (Vec<Dirty>, Vec<Dirty>) =
            self.dirty.drain(..).partition(|dirty| dirty.is_doubtful);
        self.dirty = doubtful;
        if self.dirty.is_empty() {
            self.durable = Arc::clone(&self.current);
            return;
        }
        let durable = Arc::make_mut(&mut self.durable);
        for Dirty { range, .. } in clean {
            durable.resize(durable.len().max(range.end), 0);
            durable[range.clone()].copy_from_slice(&self.current[range]);
        }
    }

    /// As on Linux: the pages count as clean from now on, whether they arrived or not.
    pub(crate) fn fail_sync(&mut self) {
        for dirty in &mut self.dirty {
            dirty.is_doubtful = true;
        }
    }

    pub(crate) fn is_certain(&self) -> bool {
        self.dirty.is_empty()
    }

    fn is_dirty(&self, index: usize) -> bool {
        self.dirty.iter().any(|dirty| dirty.range.contains(&index))
    }

    /// The fates worth trying: first [`Fate::Lost`], then [`Fate::Kept`], then the torn ones.
    pub(crate) fn fates(&self) -> Vec<Fate> {
        let mut fates = vec![Fate::Lost, Fate::Kept];
        let first = self.dirty.first().map_or(0, |dirty| dirty.range.start);
        let end = self.dirty.last().map_or(0, |dirty| dirty.range.end);
        if first < end {
            fates.push(Fate::Zeros);
        }
        let (first_sector, last_sector) =
            (first / SECTOR_BYTES, end.saturating_sub(1) / SECTOR_BYTES);
        if first_sector < last_sector {
            let middle = (first_sector + last_sector).div_ceil(2);
            fates.push(Fate::Cut(middle * SECTOR_BYTES));
            fates.push(Fate::Mixed(0x5555_5555_5555_5555));
            fates.push(Fate::Mixed(0xaaaa_aaaa_aaaa_aaaa));
        }
        fates
    }

    /// What is on the disk after a loss of power.
    pub(crate) fn after(&self, fate: Fate) -> Arc<Vec<u8>> {
        match fate {
            Fate::Lost => Arc::clone(&self.durable),
            Fate::Kept => Arc::clone(&self.current),
            Fate::Cut(end) => {
                let end = end.max(self.base().len()).min(self.current.len());
                self.partly(end, |index| index < end)
            }
            Fate::Zeros => self.partly(self.current.len(), |_| false),
            Fate::Mixed(mask) => self.partly(self.current.len(), |index| {
                mask >> (index / SECTOR_BYTES % 64) & 1 == 1
            }),
        }
    }

    /// What the dirty bytes were written onto.
    fn base(&self) -> &[u8] {
        if self.is_rewritten {
            &[]
        } else {
            &self.durable
        }
    }

    fn partly(&self, length: usize, has_come: impl Fn(usize) -> bool) -> Arc<Vec<u8>> {
        let mut bytes = self.current[..length].to_vec();
        let base = self.base();
        for (index, byte) in bytes.iter_mut().enumerate() {
            if self.is_dirty(index) && !has_come(index) {
                *byte = base.get(index).copied().unwrap_or(0);
            }
        }
        Arc::new(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(durable: &[u8], dirty: &[u8]) -> Content {
        let mut content = Content::certain(Arc::new(durable.to_vec()));
        content.append(dirty);
        content
    }

    #[test]
    fn fates_of_unsynced_bytes() {
        let content = written(b"ab", &[7; 2000]);
        assert_eq!(*content.after(Fate::Lost), b"ab");
        assert_eq!(content.after(Fate::Kept).len(), 2002);
        let cut = content.after(Fate::Cut(1024));
        assert_eq!((cut.len(), cut[1023]), (1024, 7));
        let zeros = content.after(Fate::Zeros);
        assert_eq!((zeros.len(), zeros[1], zeros[2]), (2002, b'b', 0));
        let mixed = content.after(Fate::Mixed(0b10));
        assert_eq!((mixed[511], mixed[512], mixed[1024]), (0, 7, 0));
        assert_eq!(content.fates().len(), 6);
        assert_eq!(written(b"", b"x").fates().len(), 3);
        assert_eq!(written(b"", b"").fates().len(), 2);
    }

    #[test]
    fn a_second_sync_proves_nothing() {
        let mut content = written(b"ab", b"cd");
        content.fail_sync();
        content.sync();
        assert!(!content.is_certain());
        assert_eq!(*content.after(Fate::Lost), b"ab");
        assert_eq!(*content.after(Fate::Kept), b"abcd");
        // What is written afterwards does become durable, with a hole before it.
        content.append(b"ef");
        content.sync();
        assert_eq!(*content.after(Fate::Lost), b"ab\0\0ef");
        assert_eq!(*content.after(Fate::Kept), b"abcdef");
    }

    #[test]
    fn rewriting_replaces() {
        let mut content = Content::certain(Arc::new(b"1234".to_vec()));
        content.rewrite(b"56");
        assert_eq!(*content.after(Fate::Lost), b"1234");
        assert_eq!(*content.after(Fate::Kept), b"56");
        assert_eq!(*content.after(Fate::Zeros), b"\0\0");
        content.sync();
        assert_eq!(*content.after(Fate::Lost), b"56");
    }
}
