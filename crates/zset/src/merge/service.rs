//! Where merges run: beside the steps, not in them.
//!
//! Two threads serve all spines of a worker: one merges what is done in one slice, the other one what is
//! larger. Each always continues the merge that has the fewest rows left, one slice at a time. Spines
//! poll for results; they never wait, except when they hold too many batches. A merge whose spine is
//! gone is dropped. A panic in a merge becomes its result.
//!
//! Why two: steps make small batches all the time, and the end of a large merge is a long slice. With one
//! thread, 1,000-row steps stood still for 100 to 250 ms whenever 260 MB of text were merged: for 740 ms
//! they were copied to where they need no more room than they take, and no small merge was done.
//!
//! Inputs of a finished merge are handed back to the second thread too: giving hundreds of megabytes back
//! to the system takes milliseconds, which no step should pay.
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
    Threads(Arc<MergeThreads>),
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
        let small = MergeThread::start(name.to_owned());
        let large = MergeThread::start(format!("{name}-large"));
        match small.and_then(|small| large.map(|large| MergeThreads { small, large })) {
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
        thread.send(Message::Merge(Box::new(Job {
            merger,
            slot: Arc::downgrade(&slot),
        })));
        RunningMerge::Thread(slot)
    }

    /// Drops batches where it does not delay a step.
    pub(crate) fn discard(&self, batches: Vec<AnyBatch>) {
        if let Mode::Threads(threads) = &self.mode {
            threads.large.send(Message::Discard(batches));
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

enum Message {
    Merge(Box<Job>),
    Discard(Vec<AnyBatch>),
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

struct MergeThreads {
    /// Merges of one slice.
    small: MergeThread,
    large: MergeThread,
}

struct MergeThread {
    sender: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
}

impl MergeThread {
    fn start(name: String) -> std::io::Result<Self> {
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
            // If the thread were gone, dropping the message would put an error into its slot.
            drop(sender.send(message));
        }
    }
}

impl Drop for MergeThread {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(receiver: &Receiver<Message>) {
    // As they came: of equal ones the first is done first, which is the one that a spine waits for.
    let mut jobs: Vec<Job> = Vec::new();
    let mut discarded: Vec<AnyBatch> = Vec::new();
    loop {
        match receive(receiver, &mut jobs, &mut discarded) {
            Connection::Open => {}
            Connection::Closed => return,
        }
        jobs.retain(|job| job.slot.strong_count() > 0);
        discarded.retain(is_shared);
        let smallest = (0..jobs.len()).min_by_key(|job| jobs[*job].merger.rows_left());
        if let Some(smallest) = smallest
            && let Some(result) = work(&mut jobs[smallest].merger)
            && let Some(slot) = jobs.remove(smallest).slot.upgrade()
        {
            slot.put(result);
        }
    }
}

fn is_shared(batch: &AnyBatch) -> bool {
    match batch {
        AnyBatch::Memory(run) => run.is_shared(),
        AnyBatch::File(batch) => Arc::strong_count(batch) > 1,
    }
}

/// Is there anybody left who could send?
enum Connection {
    Open,
    Closed,
}

/// Takes all messages that are there; waits for one if there is nothing else to do.
fn receive(
    receiver: &Receiver<Message>,
    jobs: &mut Vec<Job>,
    discarded: &mut Vec<AnyBatch>,
) -> Connection {
    let mut accept = |message| match message {
        Message::Merge(job) => jobs.push(*job),
        Message::Discard(batches) => discarded.extend(batches),
    };
    loop {
        match receiver.try_recv() {
            Ok(message) => accept(message),
            Err(TryRecvError::Empty) => break,
            // All spines are gone too: nobody wants the results.
            Err(TryRecvError::Disconnected) => return Connection::Closed,
        }
    }
    if !jobs.is_empty() {
        return Connection::Open;
    }
    let message = if discarded.is_empty() {
        receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
    } else {
        receiver.recv_timeout(DISCARD_INTERVAL)
    };
    match message {
        Ok(Message::Merge(job)) => jobs.push(*job),
        Ok(Message::Discard(batches)) => discarded.extend(batches),
        Err(RecvTimeoutError::Timeout) => {}
        Err(RecvTimeoutError::Disconnected) => return Connection::Closed,
    }
    Connection::Open
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
