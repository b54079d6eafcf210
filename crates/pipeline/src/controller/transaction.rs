//! Transactions: one atomic step from start to commit.
//!
//! Between start and commit nothing is stepped: input gathers in the queue, and its gates are
//! released at once so that more can come, until the transaction's bound of bytes is reached. From
//! then on input waits at the gates for the commit. The commit submits everything as one step, so
//! queries and outputs see all of it or nothing. There is no rollback.

use std::time::Duration;

use super::Controller;
use super::steps::StepSize;
use crate::error::{Error, Result};
use crate::event::Action;
use crate::moment::Moment;

/// The current transaction, if there is one.
#[derive(Default)]
pub(super) struct Transactions {
    last_id: i64,
    current: Option<Transaction>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Transaction {
    pub(super) id: i64,
    pub(super) started: Duration,
    pub(super) records: u64,
    bytes: u64,
    /// The step that commits it, once that is submitted.
    pub(super) commit_step: Option<u64>,
}

impl Transactions {
    pub(super) fn current(&self) -> Option<&Transaction> {
        self.current.as_ref()
    }

    /// Between start and commit, or until the commit is done.
    pub(super) fn is_open(&self) -> bool {
        self.current.is_some()
    }

    pub(super) fn last_id(&self) -> i64 {
        self.last_id
    }

    pub(super) fn set_last_id(&mut self, id: i64) {
        self.last_id = id;
    }

    pub(super) fn is_gathering(&self) -> bool {
        self.current
            .is_some_and(|current| current.commit_step.is_none())
    }

    pub(super) fn is_commit(&self, step: u64) -> bool {
        self.current
            .is_some_and(|current| current.commit_step == Some(step))
    }

    pub(super) fn step_done(&mut self, step: u64) {
        if self.is_commit(step) {
            self.current = None;
        }
    }

    pub(super) fn abandon(&mut self) {
        self.current = None;
    }
}

impl Controller {
    pub(super) fn start_transaction(
        &mut self,
        now: Moment,
        actions: &mut Vec<Action>,
    ) -> Result<i64> {
        self.check_alive()?;
        if let Some(current) = self.transaction.current {
            return Err(Error::TransactionInProgress {
                transaction_id: current.id,
            });
        }
        self.transaction.last_id += 1;
        let id = self.transaction.last_id;
        self.transaction.current = Some(Transaction {
            id,
            started: now.elapsed,
            // What is queued already becomes part of it.
            records: self.steps.buffered_records,
            bytes: self.steps.buffered_bytes,
            commit_step: None,
        });
        self.release_queue(actions);
        Ok(id)
    }

    pub(super) fn commit_transaction(&mut self, actions: &mut Vec<Action>) -> Result<i64> {
        self.check_alive()?;
        if !self.transaction.is_gathering() {
            return Err(Error::NoTransaction);
        }
        let step = self.submit_step(StepSize::ALL, actions);
        let current = self
            .transaction
            .current
            .as_mut()
            .ok_or(Error::NoTransaction)?;
        current.commit_step = Some(step);
        Ok(current.id)
    }

    /// Counts a piece that arrived during a transaction; true if there is room for more behind it.
    pub(super) fn transaction_takes(&mut self, records: u64, bytes: u64) -> bool {
        let bytes_max = self.settings.transaction_bytes_max;
        let gathering = self
            .transaction
            .current
            .as_mut()
            .filter(|current| current.commit_step.is_none());
        let Some(current) = gathering else {
            return false;
        };
        current.records += records;
        current.bytes += bytes;
        current.bytes <= bytes_max
    }
}
