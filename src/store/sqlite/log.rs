//! The log, and when it is written back into the file. A thread of its own does that beside the writer, for whom
//! a flood would stand still a fifth of the time. What the writer has added meanwhile it writes back itself: only
//! when nothing is left does the log begin at its start again.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::{schema, unreadable};
use crate::store::StoreError;

/// Pages in the log before it is written back: the same pages change again and again, and each is written back
/// once. 32 MiB of them.
const PAGES: i32 = 8_000;
/// The second time takes what came in the first, and leaves the writer little.
const TIMES: usize = 2;

pub(super) struct Log {
    /// As of the last commit.
    pages: Arc<AtomicI32>,
    /// A `()` for each time that it shall be written back.
    asked: Sender<()>,
    under_way: bool,
    is_done: Arc<AtomicBool>,
    thread: JoinHandle<File>,
}

impl Log {
    /// Of the file that `writer` writes.
    pub fn of(writer: &mut Connection, path: &Path) -> Result<Self, StoreError> {
        let pages = Arc::new(AtomicI32::new(0));
        let counted = pages.clone();
        let hook = move |_: &mut Wal, pages| {
            counted.store(pages, Ordering::Relaxed);
            Ok(())
        };
        writer.wal_hook(Some(hook)).map_err(unreadable)?;
        let conn = schema::open_reader(path).map_err(unreadable)?;
        let unavailable = |error| {
            StoreError::Unavailable(format!(
                "{}: no thread for its log: {error}",
                path.display()
            ))
        };
        let file = File::open(path).map_err(unavailable)?;
        let (asked, inbox) = channel();
        let is_done = Arc::new(AtomicBool::new(false));
        let done = is_done.clone();
        let thread = std::thread::Builder::new()
            .name("sqlite-log".to_owned())
            .spawn(move || beside(&conn, file, &inbox, &done))
            .map_err(unavailable)?;
        Ok(Self {
            pages,
            asked,
            under_way: false,
            is_done,
            thread,
        })
    }

    /// To be called between transactions.
    pub fn tend(&mut self, writer: &Connection) {
        if self.under_way {
            // Without the thread it is slower, and all there is to it.
            if self.is_done.swap(false, Ordering::Acquire) || self.thread.is_finished() {
                write_back(writer);
                self.under_way = false;
            }
        } else if self.pages.load(Ordering::Relaxed) >= PAGES {
            self.under_way = true;
            let _ = self.asked.send(());
        }
    }

    /// Ends the thread, so that the writer is alone with its file. What is given back must outlive the writer's
    /// connection: to close it takes SQLite's locks on the file from the whole process.
    pub fn close(self) -> Option<File> {
        drop(self.asked);
        let file = self.thread.join();
        if file.is_err() {
            tracing::error!("the thread that writes the store's log back did not end in order");
        }
        file.ok()
    }
}

fn beside(conn: &Connection, file: File, inbox: &Receiver<()>, done: &AtomicBool) -> File {
    while inbox.recv().is_ok() {
        for _ in 0..TIMES {
            write_back(conn);
        }
        // What SQLite waits for once all is written back; most of it then waits no more.
        if let Err(error) = file.sync_data() {
            tracing::warn!(%error, "the store's file could not be synced");
        }
        done.store(true, Ordering::Release);
    }
    file
}

/// As much as no reader still needs as it is. The log has all of it until then, so nothing hangs on this.
fn write_back(conn: &Connection) {
    if let Err(error) = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        tracing::warn!(%error, "the store's log could not be written back; it will be tried again");
    }
}
