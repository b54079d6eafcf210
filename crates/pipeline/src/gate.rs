//! The gate of an input: where its thread waits while the pipeline has enough.
//!
//! Invariants
//! - A piece passes if what is queued stays within both bounds with it, or if nothing is queued (so
//!   that a piece larger than the bound is slow but not stuck).
//! - What has passed is queued until the controller releases it.
//! - Nothing passes a closed gate, and whoever waits there is woken and sent away.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use highwater_connectors::input::Closed;

/// Bounds what one input has queued, and holds it while it is paused.
#[derive(Debug)]
pub struct Gate {
    records_max: u64,
    bytes_max: u64,
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    records: u64,
    bytes: u64,
    paused: bool,
    /// Nothing passes, not even what is forced.
    held: bool,
    closed: bool,
    /// Pieces that have passed and are not yet in the controller's channel.
    in_transit: usize,
}

/// How long a waiting pusher may sleep before it looks again.
const WAIT_MAX: Duration = Duration::from_secs(1);

impl Gate {
    pub fn new(records_max: u64, bytes_max: u64, paused: bool) -> Self {
        let state = GateState {
            paused,
            ..GateState::default()
        };
        Self {
            records_max,
            bytes_max,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Waits until the piece fits (and, unless `force`, until the input is not paused) and counts it
    /// as queued. The caller hands the piece over at once and then says that it has [arrived](Self::arrived).
    ///
    /// # Errors
    /// [`Closed`] if the gate is or becomes closed.
    pub fn pass(&self, records: u64, bytes: u64, force: bool) -> Result<(), Closed> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Err(Closed);
            }
            let is_open = (force || !state.paused) && !state.held;
            let is_first = state.records == 0 && state.bytes == 0;
            let fits = state.records.saturating_add(records) <= self.records_max
                && state.bytes.saturating_add(bytes) <= self.bytes_max;
            if is_open && (is_first || fits) {
                state.records += records;
                state.bytes += bytes;
                state.in_transit += 1;
                return Ok(());
            }
            state = self.wait(state);
        }
    }

    /// A piece that has passed is in the controller's channel, or will never be.
    pub fn arrived(&self) {
        let mut state = self.lock();
        state.in_transit = state.in_transit.saturating_sub(1);
        if state.held {
            self.changed.notify_all();
        }
    }

    /// Lets nothing pass any more; returns when all that has passed is in the controller's channel,
    /// which takes as long as a pusher needs to hand over one piece.
    pub fn hold(&self) {
        let mut state = self.lock();
        state.held = true;
        while state.in_transit > 0 && !state.closed {
            state = self.wait(state);
        }
    }

    /// Ends a [hold](Self::hold).
    pub fn let_go(&self) {
        self.lock().held = false;
        self.changed.notify_all();
    }

    /// Queued records left the queue.
    pub fn release(&self, records: u64, bytes: u64) {
        let mut state = self.lock();
        state.records = state.records.saturating_sub(records);
        state.bytes = state.bytes.saturating_sub(bytes);
        self.changed.notify_all();
    }

    pub fn set_paused(&self, paused: bool) {
        self.lock().paused = paused;
        self.changed.notify_all();
    }

    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub fn is_paused(&self) -> bool {
        self.lock().paused
    }

    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, GateState>) -> MutexGuard<'a, GateState> {
        let waited = self.changed.wait_timeout(state, WAIT_MAX);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{RecvTimeoutError, channel};

    use super::*;

    /// Passes on another thread; says whether it got through within `patience`.
    fn passes(gate: &Arc<Gate>, records: u64, bytes: u64, patience: Duration) -> bool {
        let (sender, receiver) = channel();
        let gate = gate.clone();
        std::thread::spawn(move || {
            let passed = gate.pass(records, bytes, false);
            // The receiver may have lost patience.
            let _ = sender.send(passed);
        });
        match receiver.recv_timeout(patience) {
            Ok(passed) => passed.is_ok(),
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => panic!("the pusher died"),
        }
    }

    const SOON: Duration = Duration::from_secs(5);
    const SHORTLY: Duration = Duration::from_millis(50);

    #[test]
    fn both_bounds_hold() {
        let gate = Arc::new(Gate::new(10, 100, false));
        assert!(passes(&gate, 9, 10, SOON));
        assert!(passes(&gate, 1, 10, SOON));
        assert!(!passes(&gate, 1, 10, SHORTLY));
        let gate = Arc::new(Gate::new(10, 100, false));
        assert!(passes(&gate, 1, 99, SOON));
        assert!(!passes(&gate, 1, 2, SHORTLY));
    }

    #[test]
    fn a_piece_beyond_the_bound_passes_alone() {
        let gate = Arc::new(Gate::new(10, 100, false));
        assert!(passes(&gate, 1_000, 1_000, SOON));
        assert!(!passes(&gate, 1, 1, SHORTLY));
    }

    #[test]
    fn a_waiting_pusher_goes_on_after_a_release() {
        let gate = Arc::new(Gate::new(1, 100, false));
        gate.pass(1, 1, false).unwrap();
        let waiting = {
            let gate = gate.clone();
            std::thread::spawn(move || gate.pass(1, 1, false))
        };
        gate.release(1, 1);
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn pause_holds_all_but_the_forced() {
        let gate = Arc::new(Gate::new(10, 100, true));
        assert!(!passes(&gate, 1, 1, SHORTLY));
        gate.pass(1, 1, true).unwrap();
        gate.set_paused(false);
        assert!(passes(&gate, 1, 1, SOON));
    }

    #[test]
    fn a_held_gate_stops_the_forced_too_and_waits_for_what_has_passed() {
        let gate = Arc::new(Gate::new(10, 100, false));
        gate.pass(1, 1, false).unwrap();
        let holding = {
            let gate = gate.clone();
            std::thread::spawn(move || gate.hold())
        };
        std::thread::sleep(SHORTLY);
        assert!(!holding.is_finished(), "a piece is on its way");
        gate.arrived();
        holding.join().unwrap();
        assert!(!passes(&gate, 1, 1, SHORTLY));
        let waiting = {
            let gate = gate.clone();
            std::thread::spawn(move || gate.pass(1, 1, true))
        };
        gate.let_go();
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn closing_sends_everybody_away() {
        let gate = Arc::new(Gate::new(10, 100, true));
        let waiting = {
            let gate = gate.clone();
            std::thread::spawn(move || gate.pass(1, 1, false))
        };
        gate.close();
        assert_eq!(waiting.join().unwrap(), Err(Closed));
        assert_eq!(gate.pass(1, 1, true), Err(Closed));
    }
}
