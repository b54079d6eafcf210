//! Following a relation: its contents, if asked for, then every change, in order and without gaps.

use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use crate::event::{EndpointId, Event, OutputMessage};

/// The receiving end of a followed relation. Dropping it ends the following.
#[derive(Debug)]
pub struct Follower {
    pub(crate) id: EndpointId,
    pub(crate) messages: UnboundedReceiver<OutputMessage>,
    /// The last step whose changes have been sent to all outputs.
    pub(crate) sent: watch::Receiver<u64>,
    pub(crate) events: Sender<Event>,
    pub(crate) start: u64,
}

/// What a follower hears.
#[derive(Debug)]
pub enum FollowerMessage {
    Output(OutputMessage),
    /// No more changes up to and including this step.
    UpTo(u64),
    /// Nothing happened for as long as the caller would wait.
    Nothing,
}

impl Follower {
    /// The step behind which the changes start.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Waits for news, at most for `patience`.
    pub async fn next(&mut self, patience: Duration) -> FollowerMessage {
        tokio::select! {
            biased;
            message = self.messages.recv() => FollowerMessage::Output(end_if_none(message)),
            changed = self.sent.changed() => {
                if changed.is_err() {
                    return FollowerMessage::Output(end_if_none(self.messages.recv().await));
                }
                let step = *self.sent.borrow_and_update();
                // What belongs to the step was sent before the step was announced.
                match self.messages.try_recv() {
                    Ok(message) => FollowerMessage::Output(message),
                    Err(_) => FollowerMessage::UpTo(step),
                }
            }
            () = tokio::time::sleep(patience) => FollowerMessage::Nothing,
        }
    }

    /// Reports that everything up to `step` has been written to the client.
    pub fn delivered(&self, step: u64, records: u64, bytes: u64) {
        let delivered = Event::Delivered {
            output: self.id,
            step,
            records,
            bytes,
        };
        // A pipeline that has ended does not count any more.
        let _ = self.events.send(delivered);
    }
}

fn end_if_none(message: Option<OutputMessage>) -> OutputMessage {
    message.unwrap_or(OutputMessage::End { error: None })
}

impl Drop for Follower {
    fn drop(&mut self) {
        // A pipeline that has ended has forgotten its followers.
        let _ = self.events.send(Event::FollowerLeft { output: self.id });
    }
}
