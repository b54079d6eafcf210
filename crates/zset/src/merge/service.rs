//! Where merges run: beside the steps, not in them.
//!
//! Two threads merge for all spines of a worker: one merges what is done in one slice, the other one
//! what is larger. Each always continues the merge that has the fewest rows left, one slice at a time.
//! Spines poll for results; they never wait, except when they hold too many batches. A merge whose spine
//! is gone is dropped. A panic in a merge becomes its result.
//!
//! Why two: steps make small batches all the time, and the end of a large merge is a long slice. With one
//! thread, 1,000-row steps stood still for 100 to 250 ms whenever 260 MB of text were merged: for 740 ms
//! they were copied to where they need no more room than they take, and no small merge was done.
//!
//! Inputs of a finished merge are handed to a third thread: giving hundreds of megabytes back to the
//! system takes milliseconds, which no step should pay. Nor may it wait for the slice of a merge: the
//! budget counts these bytes as free. With 1.3 GB of text and `--memory` 256 MiB the process grew to 331
//! MiB when large merges and this had one thread, and stays below 235 MiB.
//!
//! For tests and simulation a service can run inline instead: each insert spends a given fuel, so that
//! everything is a function of the inputs.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::any_batch::AnyBatch;
use crate::error::{Error, Result};
use crate::merge::Merger;
use crate::state_files::StateFiles;

/// Rows that are merged before a smaller merge may take over: about 2 ms. Merges of up to so many are small.
const SLICE_ROWS: usize = 65_536;
/// How often inputs that a snapshot still uses are looked at again.
const DISCARD_INTERVAL: Duration = Duration::from_millis(20);

/// Runs the merges of spines; cheap to clone. The threads end with their last service and spine.
#[derive(Clone)]
pub struct MergeService {
    mode: Mode,
    state_files: Option<StateFiles>,
}

#[derive(Clone)]
enum Mode {
    Inline { fuel_rows: usize },
    Threads(Arc<Threads>),
}

impl fmt::Debug for MergeService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mode {
            Mode::Inline { fuel_rows } => write!(formatter, "MergeService::inline({fuel_rows})"),
            Mode::Threads(_) => formatter.write_str("MergeService::threads"),
        }
    }
}

/// Gives this thread the lowest priority. Where there are fewer cores than threads, a step that becomes
/// ready would otherwise wait for the end of a merge's time slice: with 10 million rows loaded and
/// merges to catch up with on two cores, that was most of the latency of 1-row steps. Merges
/// cannot starve for long: a spine with too many batches waits for them.
pub fn yield_to_steps() {
    // Linux knows priorities of threads. A refusal costs only latency.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, LOWEST_PRIORITY);
}

/// The "nice" value of the lowest priority.
#[cfg(target_os = "linux")]
const LOWEST_PRIORITY: i32 = 19;

impl MergeService {
    /// Merges on threads of this name, or in the inserts if the system refuses them.
    pub fn threads(name: &str) -> Self {
        match Threads::start(name) {
            Ok(threads) => Self {
                mode: Mode::Threads(Arc::new(threads)),
                state_files: None,
            },
            Err(_) => Self::inline(usize::MAX),
        }
    }

    /// Merges about `fuel_rows` rows in each insert of each spine: deterministic.
    pub fn inline(fuel_rows: usize) -> Self {
        Self {
            mode: Mode::Inline { fuel_rows },
            state_files: None,
        }
    }

    /// Spines of this service may keep batches in files.
    #[must_use]
    pub fn with_state_files(mut self, state_files: StateFiles) -> Self {
        self.state_files = Some(state_files);
        self
    }

    /// Where spines may keep batches besides memory.
    pub fn state_files(&self) -> Option<&StateFiles> {
        self.state_files.as_ref()
    }

    /// True if [`balance_memory`](crate::balance_memory) has something to do: memory is short, or what is
    /// in a file is wanted in memory.
    pub fn is_out_of_balance(&self) -> bool {
        self.state_files().is_some_and(|state_files| {
            state_files.budget.is_short_by(0) || state_files.cache.is_any_wanted()
        })
    }

    /// The fuel of one insert.
    pub(crate) fn fuel_rows(&self) -> usize {
        match &self.mode {
            Mode::Inline { fuel_rows } => *fuel_rows,
            Mode::Threads(_) => 0,
        }
    }

    pub(crate) fn start(&self, merger: Merger) -> RunningMerge {
        let Mode::Threads(threads) = &self.mode else {
            return RunningMerge::Inline(Box::new(merger));
        };
        let thread = match merger.rows_left() <= SLICE_ROWS {
            true => &threads.small,
            false => &threads.large,
        };
        let slot = Arc::new(Slot::default());
        thread.send(Job {
            merger,
            slot: Arc::downgrade(&slot),
        });
        RunningMerge::Thread(slot)
    }

    /// Drops batches where it does not delay a step.
    pub(crate) fn discard(&self, batches: Vec<AnyBatch>) {
        if let Mode::Threads(threads) = &self.mode {
            threads.discard.send(batches);
        }
    }
}

/// A merge that was started.
pub(crate) enum RunningMerge {
    Inline(Box<Merger>),
    Thread(Arc<Slot>),
}

impl RunningMerge {
    /// The result, if it is there. An inline merge spends `fuel`.
    pub(crate) fn poll(&mut self, fuel: &mut usize) -> Result<Option<AnyBatch>> {
        match self {
            Self::Inline(merger) => merger.work(fuel),
            Self::Thread(slot) => slot.lock().take().transpose(),
        }
    }

    /// The result; waits for it.
    pub(crate) fn wait(&mut self) -> Result<AnyBatch> {
        match self {
            Self::Inline(merger) => loop {
                if let Some(batch) = merger.work(&mut usize::MAX.clone())? {
                    return Ok(batch);
                }
            },
            Self::Thread(slot) => slot.wait(),
        }
    }
}

/// Where the thread puts a result: a mutex, because both sides hold it for a moment only, and a
/// condition for the rare insert that has to wait.
#[derive(Default)]
pub(crate) struct Slot {
    result: Mutex<Option<Result<AnyBatch>>>,
    is_ready: Condvar,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<Result<AnyBatch>>> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, result: Result<AnyBatch>) {
        *self.lock() = Some(result);
        self.is_ready.notify_all();
    }

    fn wait(&self) -> Result<AnyBatch> {
        let mut result = self.lock();
        loop {
            if let Some(result) = result.take() {
                return result;
            }
            result = self
                .is_ready
                .wait(result)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Job {
    merger: Merger,
    /// Dead if the spine is gone.
    slot: Weak<Slot>,
}

impl Drop for Job {
    /// Whatever happens to the thread, nobody waits for ever.
    fn drop(&mut self) {
        if let Some(slot) = self.slot.upgrade() {
            let mut result = slot.lock();
            if result.is_none() && self.merger.rows_left() > 0 {
                *result = Some(Err(Error::Invalid("a merge was abandoned".to_owned())));
                slot.is_ready.notify_all();
            }
        }
    }
}

struct Threads {
    /// Merges of one slice.
    small: ServiceThread<Job>,
    large: ServiceThread<Job>,
    discard: ServiceThread<Vec<AnyBatch>>,
}

impl Threads {
    fn start(name: &str) -> std::io::Result<Self> {
        Ok(Self {
            small: ServiceThread::start(name.to_owned(), merge)?,
            large: ServiceThread::start(format!("{name}-large"), merge)?,
            discard: ServiceThread::start(format!("{name}-discard"), discard)?,
        })
    }
}

/// A thread that is sent work; it ends when this is dropped.
struct ServiceThread<Message> {
    sender: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
}

impl<Message: Send + 'static> ServiceThread<Message> {
    fn start(name: String, serve: fn(&Receiver<Message>)) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            yield_to_steps();
            serve(&receiver);
        })?;
        Ok(Self {
            sender: Some(sender),
            thread: Some(thread),
        })
    }

    fn send(&self, message: Message) {
        if let Some(sender) = &self.sender {
            // If the thread were gone, dropping a merge would put an error into its slot.
            drop(sender.send(message));
        }
    }
}

impl<Message> Drop for ServiceThread<Message> {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Merges what is sent, one slice of the smallest merge at a time.
fn merge(receiver: &Receiver<Job>) {
    // As they came: of equal ones the first is done first, which is the one that a spine waits for.
    let mut jobs: Vec<Job> = Vec::new();
    loop {
        if jobs.is_empty() {
            match receiver.recv() {
                Ok(job) => jobs.push(job),
                Err(_) => return,
            }
        }
        loop {
            match receiver.try_recv() {
                Ok(job) => jobs.push(job),
                Err(TryRecvError::Empty) => break,
                // All spines are gone too: nobody wants the results.
                Err(TryRecvError::Disconnected) => return,
            }
        }
        jobs.retain(|job| job.slot.strong_count() > 0);
        let smallest = (0..jobs.len()).min_by_key(|job| jobs[*job].merger.rows_left());
        if let Some(smallest) = smallest
            && let Some(result) = work(&mut jobs[smallest].merger)
            && let Some(slot) = jobs.remove(smallest).slot.upgrade()
        {
            slot.put(result);
        }
    }
}

/// Drops batches as soon as nobody else holds them.
fn discard(receiver: &Receiver<Vec<AnyBatch>>) {
    let mut batches: Vec<AnyBatch> = Vec::new();
    loop {
        let received = match batches.is_empty() {
            true => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => receiver.recv_timeout(DISCARD_INTERVAL),
        };
        match received {
            Ok(more) => batches.extend(more),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        batches.retain(is_shared);
    }
}

fn is_shared(batch: &AnyBatch) -> bool {
    match batch {
        AnyBatch::Memory(run) => run.is_shared(),
        AnyBatch::File(batch) => Arc::strong_count(batch) > 1,
    }
}

/// One slice; `Some` if the merge is done or has failed.
fn work(merger: &mut Merger) -> Option<Result<AnyBatch>> {
    let mut fuel = SLICE_ROWS;
    match catch_unwind(AssertUnwindSafe(|| merger.work(&mut fuel))) {
        Ok(result) => result.transpose(),
        Err(panic) => Some(Err(Error::Invalid(format!(
            "a merge panicked: {}",
            panic_message(panic.as_ref())
        )))),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => message,
        (_, Some(message)) => message,
        _ => "without a message",
    }
}

#[cfg(test)]
mod tests;
