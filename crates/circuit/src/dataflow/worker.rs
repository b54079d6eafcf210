//! A worker thread: timely's event loop around one worker's share of the circuit.
//!
//! The fragments of a plan are a chain of timely operators. A fragment holds a capability for the
//! next epoch that it will run, so that it runs every epoch exactly once, in order, and also those
//! without data: it runs epoch `e` when its input frontier has passed `e`, that is, when every
//! worker has run the fragment before it.
//!
//! When an operator fails or panics in epoch `e`, the worker runs no epoch from `e` on and keeps its
//! capabilities: every other worker comes to rest before finishing `e`, while earlier epochs still
//! finish everywhere. The outside thread then stops all workers.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use timely::WorkerConfig;
use timely::communication::Allocator;
use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::DistributorPact;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{InputHandle, Scope, Stream};
use timely::progress::frontier::MutableAntichain;
use timely::worker::Worker;

use super::DataflowConfig;
use super::circuit::{WorkerCircuit, WorkerStep};
use super::exchange::{ByAddress, Outbox, Parcel};
use super::fragments::Fragments;
use super::state::WorkerState;
use super::statistics::NodeStatistics;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::table_input::TableInput;

/// How long a worker looks for the next command before it parks, where there is a core to spare.
/// Waking a parked thread costs about this much.
const SPIN: Duration = Duration::from_micros(50);

/// How long a worker looks for what other workers send before it parks, where there is a core to
/// spare. Without one it would take the time slice of the worker that it waits for.
const EXCHANGE_SPIN: Duration = Duration::from_micros(10);

/// What the outside thread asks of a worker.
pub(super) enum Command {
    Step {
        epoch: u64,
        inputs: Vec<(usize, TableInput)>,
    },
    /// Only between steps.
    State(Sender<WorkerState>),
    Statistics(Sender<Vec<NodeStatistics>>),
    MeasureTime(bool),
    Stop,
}

/// What a worker tells the outside thread.
pub(super) enum Report {
    /// The worker is built and has its state: the first report of each.
    Ready,
    Step {
        worker: usize,
        epoch: u64,
        step: WorkerStep,
    },
    /// The epoch failed; later ones will not run.
    Failed { epoch: u64, error: Error },
}

/// What a worker thread is started with.
pub(super) struct WorkerSeed {
    pub plan: Arc<Plan>,
    pub fragments: Arc<Fragments>,
    pub config: DataflowConfig,
    pub worker: usize,
    pub epoch: u64,
    pub state: Option<WorkerState>,
    pub commands: Receiver<Command>,
    pub reports: Sender<Report>,
    /// There are more cores than workers.
    pub spins: bool,
}

/// What the fragments of one worker share.
struct Shared {
    circuit: WorkerCircuit,
    reports: Sender<Report>,
    worker: usize,
    /// The epoch that failed: neither it nor later ones run.
    failed: Option<u64>,
}

/// The body of a worker thread. Returns when it is told to, or when nobody listens any more.
pub(super) fn run(seed: WorkerSeed, allocator: Allocator) {
    let (reports, worker) = (seed.reports.clone(), seed.worker);
    let result = catch_unwind(AssertUnwindSafe(|| try_run(seed, allocator)));
    let error = match result {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(panic) => Error::WorkerPanic {
            worker,
            message: panic_message(&*panic),
        },
    };
    // Nobody listens if the dataflow was dropped: then there is nobody to tell.
    let _ = reports.send(Report::Failed { epoch: 0, error });
}

fn try_run(seed: WorkerSeed, allocator: Allocator) -> Result<()> {
    let WorkerSeed {
        plan,
        fragments,
        config,
        worker,
        epoch,
        state,
        commands,
        reports,
        spins,
    } = seed;
    let mut circuit = WorkerCircuit::new(&plan, &fragments, &config, worker, epoch);
    if let Some(state) = state {
        circuit.restore(state)?;
    }
    let _ = reports.send(Report::Ready);
    let shared = Rc::new(RefCell::new(Shared {
        circuit,
        reports,
        worker,
        failed: None,
    }));
    // Timely looks for other workers' rows; for commands, which it does not see, `event_loop` does.
    let idle_spin = if spins && config.workers > 1 {
        EXCHANGE_SPIN
    } else {
        Duration::ZERO
    };
    let timely_config = WorkerConfig::default().idle_spin(idle_spin);
    // Without a timer, timely never parks.
    let mut timely = Worker::new(timely_config, allocator, Some(Instant::now()));
    let mut input = timely.dataflow::<u64, _, _>(|scope| {
        let mut input = InputHandle::<u64, NoopBuilder<Parcel>>::new_with_builder();
        let mut stream = input.to_stream(scope);
        for level in 0..fragments.count() {
            stream = fragment(scope, stream, level, epoch, &fragments, &shared);
        }
        input
    });
    if epoch > 0 {
        input.advance_to(epoch);
    }
    event_loop(&mut timely, &mut input, &shared, &commands, spins);
    Ok(())
}

fn event_loop(
    timely: &mut Worker,
    input: &mut InputHandle<u64, NoopBuilder<Parcel>>,
    shared: &Rc<RefCell<Shared>>,
    commands: &Receiver<Command>,
    spins: bool,
) {
    let mut idle_since: Option<Instant> = None;
    loop {
        match commands.try_recv() {
            Ok(Command::Step { epoch, inputs }) => {
                shared.borrow_mut().circuit.submit(epoch, inputs);
                input.advance_to(epoch + 1);
                idle_since = None;
            }
            Ok(Command::State(reply)) => drop(reply.send(shared.borrow().circuit.state())),
            Ok(Command::Statistics(reply)) => {
                drop(reply.send(shared.borrow().circuit.statistics()));
            }
            Ok(Command::MeasureTime(measures)) => {
                shared.borrow_mut().circuit.set_measures_time(measures);
            }
            Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) if !spins => {
                timely.step_or_park(None);
            }
            Err(TryRecvError::Empty) => {
                timely.step_or_park(Some(Duration::ZERO));
                let since = *idle_since.get_or_insert_with(Instant::now);
                if since.elapsed() > SPIN {
                    timely.step_or_park(None);
                    idle_since = None;
                }
            }
        }
    }
}

/// One timely operator: runs the nodes of a level for each epoch.
fn fragment<'scope>(
    scope: Scope<'scope, u64>,
    stream: Stream<'scope, u64, Parcel>,
    level: usize,
    first_epoch: u64,
    fragments: &Fragments,
    shared: &Rc<RefCell<Shared>>,
) -> Stream<'scope, u64, Parcel> {
    let is_last = level + 1 == fragments.count();
    let shared = shared.clone();
    let mut builder = OperatorBuilder::new(format!("fragment {level}"), scope);
    let mut input = builder.new_input(stream, DistributorPact(|_peers| ByAddress));
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<u64, NoopBuilder<Parcel>>::from(output);
    builder.build_reschedule_boxed(Box::new(move |mut capabilities| {
        let mut capability = capabilities.pop();
        let mut next = first_epoch;
        if let Some(capability) = &mut capability {
            capability.downgrade(&next);
        }
        Box::new(move |frontiers| {
            let mut shared = shared.borrow_mut();
            input.for_each(|time, parcel| {
                if let Some(&epoch) = time.least() {
                    shared
                        .circuit
                        .receive(epoch, std::mem::take(&mut parcel.pieces));
                }
            });
            while let Some(held) = runnable(&mut capability, frontiers, next) {
                let Some(outbox) = shared.run(level, next, is_last) else {
                    break;
                };
                let mut handle = output.activate();
                let mut session = handle.session_with_builder(&*held);
                for mut parcel in outbox.into_parcels() {
                    session.give_container(&mut parcel);
                }
                drop(session);
                drop(handle);
                next += 1;
                held.downgrade(&next);
            }
            false
        })
    }));
    stream
}

/// The capability for epoch `next`, if the input frontier has passed it. When the input has ended
/// there is nothing to run, and the capability goes.
fn runnable<'a>(
    capability: &'a mut Option<Capability<u64>>,
    frontiers: &[MutableAntichain<u64>],
    next: u64,
) -> Option<&'a mut Capability<u64>> {
    match frontiers[0].frontier().first() {
        None => {
            *capability = None;
            None
        }
        Some(&frontier) if next < frontier => capability.as_mut(),
        Some(_) => None,
    }
}

impl Shared {
    /// Runs a level for an epoch; `None` if that failed, now or before.
    fn run(&mut self, level: usize, epoch: u64, is_last: bool) -> Option<Outbox> {
        if self.failed.is_some_and(|failed| epoch >= failed) {
            return None;
        }
        let result = catch_unwind(AssertUnwindSafe(|| {
            let outbox = self.circuit.run(level, epoch)?;
            let step = is_last.then(|| self.circuit.finish(epoch)).transpose()?;
            Ok::<_, Error>((outbox, step))
        }));
        let error = match result {
            Ok(Ok((outbox, step))) => {
                if let Some(step) = step {
                    // If nobody listens any more, a command to stop is on its way.
                    let _ = self.reports.send(Report::Step {
                        worker: self.worker,
                        epoch,
                        step,
                    });
                }
                return Some(outbox);
            }
            Ok(Err(error)) => error,
            Err(panic) => self.circuit.describe_panic(&panic_message(&*panic)),
        };
        self.failed = Some(epoch);
        let _ = self.reports.send(Report::Failed { epoch, error });
        None
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(message) = panic.downcast_ref::<&str>() {
        (*message).to_owned()
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message.clone()
    } else {
        "panic without a message".to_owned()
    }
}
