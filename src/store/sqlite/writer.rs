//! The one thread that writes. What waits while a transaction is written to the disk shares the next one,
//! each write between savepoints of its own: without that, every message of a chat and every partition's
//! batch would pay for an fsync alone, and a flood would stand in line for the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, TryRecvError};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::write::{Stop, commit_error, failed};
use crate::store::WriteError;

/// At most this many writes in one transaction: what it holds in memory stays small.
const MOST_TOGETHER: usize = 64;

/// What the writer does, in the order in which it was asked.
pub(super) enum Job {
    /// Has the connection for itself.
    Alone(Box<dyn FnOnce(&mut Connection) + Send>),
    Shared(Box<dyn SharedWrite>),
}

/// A write that may share its transaction with others.
pub(super) trait SharedWrite: Send {
    /// Changes what it has to. An error undoes this write and no other.
    fn apply(&mut self, tx: &Transaction<'_>) -> Result<(), ()>;
    /// Tells the caller, once the transaction has ended: `Err` when it did not commit.
    fn answer(self: Box<Self>, ended: Result<(), WriteError>);
}

/// A closure as a [`SharedWrite`].
pub(super) struct Write<T, F> {
    body: Option<F>,
    done: Option<Result<T, WriteError>>,
    reply: oneshot::Sender<Result<T, WriteError>>,
}

impl<T, F> Write<T, F>
where
    F: FnOnce(&Transaction<'_>) -> Result<T, Stop> + Send,
{
    pub fn new(body: F, reply: oneshot::Sender<Result<T, WriteError>>) -> Self {
        Self {
            body: Some(body),
            done: None,
            reply,
        }
    }
}

impl<T, F> SharedWrite for Write<T, F>
where
    T: Send,
    F: FnOnce(&Transaction<'_>) -> Result<T, Stop> + Send,
{
    fn apply(&mut self, tx: &Transaction<'_>) -> Result<(), ()> {
        let Some(body) = self.body.take() else {
            return Err(());
        };
        let done = body(tx).map_err(|stop| match stop {
            Stop::Sql(error) => failed(&error),
            Stop::Contract(error) => error,
        });
        let end = if done.is_ok() { Ok(()) } else { Err(()) };
        self.done = Some(done);
        end
    }

    fn answer(self: Box<Self>, ended: Result<(), WriteError>) {
        let Some(done) = self.done else {
            // It panicked: the dropped sender says that nothing is known.
            return;
        };
        let _ = self.reply.send(match (done, ended) {
            (Ok(_), Err(error)) => Err(error),
            (done, _) => done,
        });
    }
}

/// Runs jobs until the last sender is gone.
pub(super) fn run(conn: &mut Connection, inbox: &Receiver<Job>) {
    let mut next = inbox.recv().ok();
    while let Some(job) = next.take() {
        match job {
            Job::Alone(job) => {
                // A panic rolls its transaction back and drops its answer: unknown to the caller who
                // asked, nothing to anybody else.
                if catch_unwind(AssertUnwindSafe(|| job(conn))).is_err() {
                    tracing::error!("a job of the store's writer panicked");
                }
            }
            Job::Shared(first) => next = together(conn, first, inbox),
        }
        if next.is_none() {
            next = inbox.recv().ok();
        }
    }
}

/// One transaction for `first` and what waits behind it; the job that could not join, if there is one.
fn together(
    conn: &mut Connection,
    first: Box<dyn SharedWrite>,
    inbox: &Receiver<Job>,
) -> Option<Job> {
    let mut writes = vec![first];
    let mut left = None;
    let ended = transaction(conn, &mut writes, || match inbox.try_recv() {
        Ok(Job::Shared(write)) => Some(write),
        Ok(alone) => {
            left = Some(alone);
            None
        }
        Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
    });
    for write in writes {
        write.answer(ended.clone());
    }
    left
}

fn transaction(
    conn: &mut Connection,
    writes: &mut Vec<Box<dyn SharedWrite>>,
    mut more: impl FnMut() -> Option<Box<dyn SharedWrite>>,
) -> Result<(), WriteError> {
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| failed(&error))?;
    let mut at = 0;
    while let Some(write) = writes.get_mut(at) {
        between_savepoints(&tx, write.as_mut())?;
        at += 1;
        if at < MOST_TOGETHER
            && at == writes.len()
            && let Some(write) = more()
        {
            writes.push(write);
        }
    }
    tx.commit().map_err(|error| commit_error(&error))
}

/// An error means that the whole transaction is gone, as after a full disk.
fn between_savepoints(tx: &Transaction<'_>, write: &mut dyn SharedWrite) -> Result<(), WriteError> {
    let run = |sql| -> Result<(), WriteError> {
        let mut statement = tx.prepare_cached(sql).map_err(|error| failed(&error))?;
        statement.execute([]).map_err(|error| failed(&error))?;
        Ok(())
    };
    run("SAVEPOINT one")?;
    let applied = catch_unwind(AssertUnwindSafe(|| write.apply(tx)));
    if applied.is_err() {
        tracing::error!("a write of the store panicked");
    }
    if tx.is_autocommit() {
        return Err(WriteError::Failed(
            "a write in the same transaction had it rolled back".to_owned(),
        ));
    }
    if !matches!(applied, Ok(Ok(()))) {
        run("ROLLBACK TO one")?;
    }
    run("RELEASE one")
}
