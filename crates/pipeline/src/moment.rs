//! Time as a door: the controller is told it, threads ask this clock for it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use highwater_connectors::clock::{Clock, SystemClock};

/// When an event is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Never goes back.
    pub elapsed: Duration,
    /// For people.
    pub wall: DateTime<Utc>,
}

/// A monotonic clock that also knows the date.
pub trait TimeSource: Clock {
    fn wall(&self) -> DateTime<Utc>;

    fn moment(&self) -> Moment {
        Moment {
            elapsed: self.now(),
            wall: self.wall(),
        }
    }
}

/// The machine's clocks.
impl TimeSource for SystemClock {
    fn wall(&self) -> DateTime<Utc> {
        Utc::now()
    }
}
