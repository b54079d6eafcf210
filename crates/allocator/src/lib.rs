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

/// Steps allocate and free arrays of a few megabytes: with the system's allocator half of the time
/// of a large merge goes into page faults on memory that was just given back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// For processes that may take what they need: what a merge has freed is there for the next one. Memory
/// that was given back is cleared again by the system when it is touched, and a virtual machine may have
/// to ask its host for it. On one where first touches took a second per gigabyte, merges of 5 GB of
/// state spent nine tenths of their time in that, and 1,000-row steps beside them stood still for 100 to
/// 300 ms; with ten seconds instead of half a one their 99th percentile went from 50 to 200 ms to 7 to
/// 15 ms.
pub const RETURN_INTERVAL: Duration = Duration::from_secs(10);

/// For processes with a bound: at a gigabyte allocated per second, 10 MB wait to be given back.
pub const RETURN_INTERVAL_BOUND: Duration = Duration::from_millis(10);

/// Number of mimalloc's option for the milliseconds until freed memory is given back by whoever allocates
/// (`mi_option_e` in its header; the binding does not name it).
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Begins to give freed memory back to the system, this often, until the process ends.
///
/// # Errors
/// If the system refuses the thread.
pub fn return_memory_every(interval: Duration) -> std::io::Result<()> {
    // Twice the interval: by then the thread has done it.
    let delay_ms = 2 * interval.as_millis().max(1_000);
    #[expect(unsafe_code, reason = "there is no safe binding")]
    // SAFETY: stores an integer, which others read when they free.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, delay_ms as std::ffi::c_long);
    }
    let thread = std::thread::Builder::new().name("memory".to_owned());
    thread.spawn(move || {
        loop {
            std::thread::sleep(interval);
            return_memory();
        }
    })?;
    Ok(())
}

fn return_memory() {
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
    fn freed_memory_is_given_back() {
        let before = resident_mib();
        let pieces: Vec<Vec<u8>> = (0..200).map(|_| vec![1; 1 << 20]).collect();
        assert!(black_box(resident_mib()) >= before + 190);
        drop(black_box(pieces));
        return_memory();
        assert!(resident_mib() < before + 50);
    }
}
