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
//! So a thread of its own does it, before the second is over.

use std::hint::black_box;
use std::time::Duration;

/// Steps allocate and free arrays of a few megabytes: with the system's allocator half of the time
/// of a large merge goes into page faults on memory that was just given back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// For processes that may take what they need: less than mimalloc's second, so that no other thread
/// does it, and not so often that what is freed is missed soon.
pub const RETURN_INTERVAL: Duration = Duration::from_millis(500);

/// For processes with a bound: at a gigabyte allocated per second, 10 MB wait to be given back.
pub const RETURN_INTERVAL_BOUND: Duration = Duration::from_millis(10);

/// Begins to give freed memory back to the system, this often, until the process ends.
///
/// # Errors
/// If the system refuses the thread.
pub fn return_memory_every(interval: Duration) -> std::io::Result<()> {
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
    fn freed_memory_is_given_back() {
        let before = resident_mib();
        let pieces: Vec<Vec<u8>> = (0..200).map(|_| vec![1; 1 << 20]).collect();
        assert!(black_box(resident_mib()) >= before + 190);
        drop(black_box(pieces));
        return_memory();
        assert!(resident_mib() < before + 50);
    }
}
