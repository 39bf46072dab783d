//! The one thread that writes. What waits while a transaction is written to the disk shares the next one: without
//! that, every message of a chat and every partition's batch would pay for an fsync alone, and a flood would stand
//! in line for the disk. A write that is refused undoes itself and no other. Most have changed nothing by then; after
//! one that has, the transaction is done once more, with each write between savepoints of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, TryRecvError};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::log::Log;
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
    /// Changes what it has to; done again, it does the same.
    fn apply(&mut self, tx: &Transaction<'_>) -> Result<(), ()>;
    /// Tells the caller, once the transaction has ended: `Err` when it did not commit.
    fn answer(self: Box<Self>, ended: Result<(), WriteError>);
}

/// A closure as a [`SharedWrite`].
pub(super) struct Write<T, F> {
    body: F,
    done: Option<Result<T, WriteError>>,
    reply: oneshot::Sender<Result<T, WriteError>>,
}

impl<T, F> Write<T, F>
where
    F: Fn(&Transaction<'_>) -> Result<T, Stop> + Send,
{
    pub fn new(body: F, reply: oneshot::Sender<Result<T, WriteError>>) -> Self {
        Self {
            body,
            done: None,
            reply,
        }
    }
}

impl<T, F> SharedWrite for Write<T, F>
where
    T: Send,
    F: Fn(&Transaction<'_>) -> Result<T, Stop> + Send,
{
    fn apply(&mut self, tx: &Transaction<'_>) -> Result<(), ()> {
        self.done = None;
        let done = (self.body)(tx).map_err(|stop| match stop {
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
pub(super) fn run(conn: &mut Connection, inbox: &Receiver<Job>, log: &mut Log) {
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
        log.tend(conn);
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
    let tx = begun(conn)?;
    let mut at = 0;
    while let Some(write) = writes.get_mut(at) {
        let before = tx.total_changes();
        let end = applied(&tx, write.as_mut())?;
        if end == End::Panicked || end == End::Refused && tx.total_changes() != before {
            tx.rollback().map_err(|error| failed(&error))?;
            return one_by_one(conn, writes);
        }
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

fn one_by_one(
    conn: &mut Connection,
    writes: &mut [Box<dyn SharedWrite>],
) -> Result<(), WriteError> {
    let tx = begun(conn)?;
    let run = |sql| -> Result<(), WriteError> {
        let mut statement = tx.prepare_cached(sql).map_err(|error| failed(&error))?;
        statement.execute([]).map_err(|error| failed(&error))?;
        Ok(())
    };
    for write in writes {
        run("SAVEPOINT one")?;
        if applied(&tx, write.as_mut())? != End::Done {
            run("ROLLBACK TO one")?;
        }
        run("RELEASE one")?;
    }
    tx.commit().map_err(|error| commit_error(&error))
}

fn begun(conn: &mut Connection) -> Result<Transaction<'_>, WriteError> {
    conn.transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| failed(&error))
}

#[derive(PartialEq, Eq)]
enum End {
    Done,
    Refused,
    Panicked,
}

/// An error means that the whole transaction is gone, as after a full disk.
fn applied(tx: &Transaction<'_>, write: &mut dyn SharedWrite) -> Result<End, WriteError> {
    let end = match catch_unwind(AssertUnwindSafe(|| write.apply(tx))) {
        Ok(Ok(())) => End::Done,
        Ok(Err(())) => End::Refused,
        Err(_) => {
            tracing::error!("a write of the store panicked");
            End::Panicked
        }
    };
    if tx.is_autocommit() {
        return Err(WriteError::Failed(
            "a write in the same transaction had it rolled back".to_owned(),
        ));
    }
    Ok(end)
}
