//! The allocator of our binaries, and when it gives memory back to the system.
//!
//! mimalloc gives back what was freed after a second, on whichever thread happens to allocate then. Two
//! things are wrong with that:
//! - If it is the thread that steps, and hundreds of megabytes of a merge are to go, it stands still for
//!   100 to 400 ms.
//! - The timer may be lost (3.x): with two threads in `mi_arena_schedule_purge` and
//!   `mi_arenas_try_purge` the time of the whole may end as "never" while that of an arena is set, and
//!   then nothing is given back any more. One run in six of those that loaded 1 GB within 256 MiB
//!   kept 100 MB too much for that reason.
//!
//! So a thread of its own does it, and mimalloc's own timer is set far behind it.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Steps allocate and free arrays of a few megabytes: with the system's allocator half of the time
/// of a large merge goes into page faults on memory that was just given back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// When freed memory is given back to the system.
#[derive(Clone, Copy, Debug)]
pub enum GiveBack {
    /// For processes that may take what they need: when they rest, or after five minutes of work.
    ///
    /// What a merge has freed is there for the next one. Memory that was given back is cleared again by
    /// the system when it is touched, and a virtual machine may have to ask its host for it: on one
    /// where first touches took a second per gigabyte, the whole machine stood still meanwhile. With
    /// 30 million rows of state and memory given back every ten seconds, the 99th percentile of
    /// 1,000-row steps was beyond 100 ms in 6 of 56 windows of a second or more, 659 ms at most, and
    /// never beyond 23 ms in 56 windows of the same minutes in which nothing was given back. With 5.7
    /// GB of text it was beyond 100 ms in 6 of 28 windows against one. The price with text: a
    /// fifth more memory at the peak (13.4 to 17.6 GiB against 12.5 to 13.0).
    AtRest,
    /// For processes with a bound: every 10 ms. At a gigabyte allocated per second, 10 MB wait.
    Soon,
}

impl GiveBack {
    /// Time between two looks.
    fn interval(self) -> Duration {
        match self {
            Self::AtRest => Duration::from_secs(10),
            Self::Soon => Duration::from_millis(10),
        }
    }

    /// Longest time until memory is given back.
    fn delay_max(self) -> Duration {
        match self {
            Self::AtRest => Duration::from_mins(5),
            Self::Soon => self.interval(),
        }
    }

    /// Is it time, if the process has worked so long since the last look, and this was the time since
    /// memory was given back? A process rests while it uses less than a twentieth of a core.
    fn is_due(self, worked: Duration, waited: Duration) -> bool {
        worked < self.interval() / 20 || waited >= self.delay_max()
    }
}

/// Number of mimalloc's option for the milliseconds until freed memory is given back by whoever allocates
/// (`mi_option_e` in its header; the binding does not name it).
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Begins to give freed memory back to the system, until the process ends.
///
/// # Errors
/// If the system refuses the thread.
pub fn give_back_memory(when: GiveBack) -> std::io::Result<()> {
    // Twice the time: by then the thread has done it.
    let delay_ms = 2 * when.delay_max().as_millis().max(1_000);
    #[expect(unsafe_code, reason = "there is no safe binding")]
    // SAFETY: stores an integer, which others read when they free.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, delay_ms as std::ffi::c_long);
    }
    let thread = std::thread::Builder::new().name("memory".to_owned());
    thread.spawn(move || {
        let mut worked_before = processor_time();
        let mut waited = Duration::ZERO;
        loop {
            std::thread::sleep(when.interval());
            let worked = processor_time();
            waited += when.interval();
            if when.is_due(worked.saturating_sub(worked_before), waited) {
                give_back_now();
                waited = Duration::ZERO;
            }
            worked_before = worked;
        }
    })?;
    Ok(())
}

/// Time that all threads of this process have run.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn give_back_now() {
    // A thread that has allocated nothing has no heap, and collects nothing.
    drop(black_box(Vec::<u8>::with_capacity(64)));
    #[expect(unsafe_code, reason = "there is no safe binding")]
    // SAFETY: may be called at any time, from any thread.
    unsafe {
        libmimalloc_sys::mi_collect(true);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn resident_mib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let mut lines = status.lines();
        let line = lines.find(|line| line.starts_with("VmRSS:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib >> 10
    }

    #[test]
    fn the_option_is_the_delay() {
        #[expect(unsafe_code, reason = "there is no safe binding")]
        // SAFETY: reads an integer.
        let delay_ms = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(delay_ms, 1_000, "mimalloc's default");
    }

    #[test]
    fn a_process_without_a_bound_gives_back_when_it_rests_or_after_minutes() {
        let [resting, working] = [100, 9_000].map(Duration::from_millis);
        let is_due = |worked, waited_s| {
            let waited = Duration::from_secs(waited_s);
            GiveBack::AtRest.is_due(worked, waited)
        };
        assert!(is_due(resting, 10));
        assert!(!is_due(working, 10) && !is_due(working, 290));
        assert!(is_due(working, 300));
    }

    #[test]
    fn a_process_with_a_bound_gives_back_at_every_look() {
        let interval = GiveBack::Soon.interval();
        assert!(GiveBack::Soon.is_due(2 * interval, interval));
    }

    #[test]
    fn work_is_counted() {
        let before = processor_time();
        for number in 0..1_000_000 {
            black_box(number);
        }
        assert!(processor_time() > before);
    }

    #[test]
    fn freed_memory_is_given_back() {
        let before = resident_mib();
        let pieces: Vec<Vec<u8>> = (0..200).map(|_| vec![1; 1 << 20]).collect();
        assert!(black_box(resident_mib()) >= before + 190);
        drop(black_box(pieces));
        give_back_now();
        assert!(resident_mib() < before + 50);
    }
}
