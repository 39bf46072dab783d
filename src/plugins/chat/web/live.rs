//! What makes an open page show a message at once: each open page of an employee hears of every change. Losing a
//! change here loses nothing; pages also read the history again when they connect.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, watch};

use crate::core::machine::Row;

/// A page that is further behind reads the whole history again.
const CAPACITY: usize = 64;
/// Open pages of one employee; more are refused, they cost memory.
const MOST_PAGES: usize = 16;

#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) row: Arc<Row>,
    /// New, not edited: worth a notification.
    pub(super) fresh: bool,
}

#[derive(Debug)]
pub(super) struct Live {
    pages: Mutex<HashMap<String, broadcast::Sender<Change>>>,
    closing: watch::Sender<bool>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            pages: Mutex::default(),
            closing: watch::Sender::new(false),
        }
    }
}

impl Live {
    /// `None` when too many pages are open.
    pub(super) fn listen(&self, user: &str) -> Option<broadcast::Receiver<Change>> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.retain(|_, page| page.receiver_count() > 0);
        let sender = pages
            .entry(user.to_owned())
            .or_insert_with(|| broadcast::Sender::new(CAPACITY));
        (sender.receiver_count() < MOST_PAGES).then(|| sender.subscribe())
    }

    pub(super) fn tell(&self, user: &str, row: Row, fresh: bool) {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = pages.get(user) {
            // Nobody listening any more is no error.
            let _ = sender.send(Change {
                row: Arc::new(row),
                fresh,
            });
        }
    }

    /// Turns true when the service stops: open streams would hold it up.
    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    pub(super) fn close(&self) {
        self.closing.send_replace(true);
    }
}
