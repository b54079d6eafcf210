//! Memory and processor time of this process, as far as the system tells.

use std::fs;

/// Linux counts processor time in hundredths of a second (`USER_HZ`), whatever the machine.
const MILLIS_PER_TICK: u64 = 10;

/// Bytes of memory that this process has now; 0 where the system does not tell.
pub(crate) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// Milliseconds of processor time that this process has used; 0 where the system does not tell.
pub(crate) fn processor_millis() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field, a name in brackets, may hold blanks.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|field| field.parse::<u64>().ok())
        .sum::<u64>()
        * MILLIS_PER_TICK
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory() {
        assert!(resident_bytes() > 1 << 16);
    }

    #[test]
    fn work_takes_processor_time() {
        let before = processor_millis();
        let start = std::time::Instant::now();
        while start.elapsed().as_millis() < 60 {
            std::hint::black_box(0);
        }
        assert!(processor_millis() > before);
    }
}
