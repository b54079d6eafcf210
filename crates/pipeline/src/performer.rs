//! The waiting half: the loop of the controller's thread takes the next event (or the time that the
//! controller asked for), applies it, and performs the actions. Nothing else happens there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;

use highwater_connectors::input::InputTransport;
use tokio::sync::watch;

use crate::checkpoint_thread;
use crate::contents::Published;
use crate::controller::Controller;
use crate::engine::Command;
use crate::error::{Error, Result};
use crate::event::{Action, EndpointId, Event};
use crate::gate::Gate;
use crate::input_thread::{self, InputPort};
use crate::moment::TimeSource;

/// The transports that have not started, by endpoint.
pub(crate) type WaitingInputs = BTreeMap<EndpointId, (String, Box<dyn InputTransport>, InputPort)>;

/// Performs actions.
pub(crate) struct Performer {
    pub(crate) commands: Sender<Command>,
    /// To the thread that writes them; none without storage.
    pub(crate) checkpoints: Option<Sender<checkpoint_thread::Command>>,
    pub(crate) events: Sender<Event>,
    pub(crate) published: Arc<Published>,
    pub(crate) sent: watch::Sender<u64>,
    pub(crate) ended: watch::Sender<bool>,
    pub(crate) inputs: WaitingInputs,
    pub(crate) clock: Arc<dyn TimeSource>,
    /// Joined at the end: the engine, the outputs and the writer of checkpoints.
    pub(crate) threads: Vec<JoinHandle<()>>,
}

/// The waiting half.
pub(crate) fn run(
    mut controller: Controller,
    mut performer: Performer,
    events: &Receiver<Event>,
    clock: &dyn TimeSource,
) {
    loop {
        let event = match controller.wake_at() {
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => events.recv_timeout(due.saturating_sub(clock.now())),
        };
        let event = match event {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => Event::Wake,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let actions = controller.apply(clock.moment(), event);
        if actions.into_iter().any(|action| performer.perform(action)) {
            break;
        }
    }
    drop((performer.commands, performer.checkpoints));
    for thread in performer.threads {
        // A panic of that thread has been printed where it happened.
        let _ = thread.join();
    }
    performer.ended.send_replace(true);
}

impl Performer {
    /// Returns true if nothing follows. The other ends of these channels may be gone: the engine
    /// after a failure (which it reported), a follower that has just left.
    pub(crate) fn perform(&mut self, action: Action) -> bool {
        match action {
            Action::Submit { inputs, .. } => {
                let _ = self.commands.send(Command::Step(inputs));
            }
            Action::Publish(contents) => self.published.publish(contents),
            Action::Send { sender, message } => {
                let _ = sender.send(message);
            }
            Action::Sent { step } => {
                self.sent.send_replace(step);
            }
            Action::Release {
                gate,
                records,
                bytes,
            } => gate.release(records, bytes),
            Action::SetPaused { gate, paused } => gate.set_paused(paused),
            Action::StartInput(endpoint) => self.start_input(endpoint),
            Action::Close(gate) => gate.close(),
            Action::Hold { gates, held } => self.hold(&gates, held),
            Action::Snapshot => {
                let _ = self.commands.send(Command::Snapshot);
            }
            Action::WriteCheckpoint(state) => {
                self.checkpoint(checkpoint_thread::Command::Write(state));
            }
            Action::PublishCheckpoint(record) => {
                self.checkpoint(checkpoint_thread::Command::Publish(record));
            }
            Action::AbandonCheckpoint => self.checkpoint(checkpoint_thread::Command::Abandon),
            Action::StopEngine => {
                let _ = self.commands.send(Command::Stop);
            }
            Action::Finish => return true,
        }
        false
    }

    fn checkpoint(&self, command: checkpoint_thread::Command) {
        if let Some(checkpoints) = &self.checkpoints {
            let _ = checkpoints.send(command);
        }
    }

    fn hold(&self, gates: &[Arc<Gate>], held: bool) {
        if !held {
            gates.iter().for_each(|gate| gate.let_go());
            return;
        }
        gates.iter().for_each(|gate| gate.hold());
        // Behind everything that has passed a gate.
        let _ = self.events.send(Event::InputsHeld);
    }

    fn start_input(&mut self, endpoint: EndpointId) {
        let Some((name, transport, port)) = self.inputs.remove(&endpoint) else {
            return;
        };
        let (clock, events) = (self.clock.clone(), port.events.clone());
        let thread = spawn(&format!("input-{name}"), move || {
            input_thread::run(transport, port, &clock);
        });
        if let Err(error) = thread {
            let message = error.to_string();
            // This thread receives it itself.
            let _ = events.send(Event::InputFailed { endpoint, message });
        }
    }
}

pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(Error::Thread)
}
