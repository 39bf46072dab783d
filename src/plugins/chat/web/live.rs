//! What makes an open page show a message at once: each open page of an employee hears of every change. Losing a
//! change here loses nothing; pages also read the history again when they connect.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use crate::core::machine::Row;

use super::history::Entry;

/// A page that is further behind reads the whole history again.
const CAPACITY: usize = 64;
/// Open pages of one employee; more are refused, they cost memory.
const MOST_PAGES: usize = 16;

#[derive(Debug)]
pub(super) struct Change {
    pub(super) row: Row,
    /// What stands in the row, so that no page reads it again.
    pub(super) entry: Entry<'static>,
    /// New, not edited: worth a notification.
    pub(super) fresh: bool,
}

/// The open pages of one employee; there is at least one.
#[derive(Debug)]
struct Open {
    changes: broadcast::Sender<Arc<Change>>,
    pages: usize,
}

#[derive(Debug, Default)]
struct ByUser(Mutex<HashMap<String, Open>>);

impl ByUser {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(super) struct Live {
    open: Arc<ByUser>,
    closing: watch::Sender<bool>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            open: Arc::default(),
            closing: watch::Sender::new(false),
        }
    }
}

impl Live {
    /// `None` when too many pages are open.
    pub(super) fn listen(&self, user: &str) -> Option<Ear> {
        let mut open = self.open.lock();
        let theirs = open.entry(user.to_owned()).or_insert_with(|| Open {
            changes: broadcast::Sender::new(CAPACITY),
            pages: 0,
        });
        if theirs.pages == MOST_PAGES {
            return None;
        }
        theirs.pages += 1;
        Some(Ear {
            open: self.open.clone(),
            user: user.to_owned(),
            changes: theirs.changes.subscribe(),
        })
    }

    pub(super) fn tell(&self, user: &str, row: Row, entry: Entry<'_>, fresh: bool) {
        if let Some(theirs) = self.open.lock().get(user) {
            // Nobody listening any more is no error.
            let _ = theirs.changes.send(Arc::new(Change {
                row,
                entry: entry.into_owned(),
                fresh,
            }));
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

/// What one open page hears. The last one of an employee takes the entry along, so nobody ever looks through all of them
/// for what is over.
#[derive(Debug)]
pub(super) struct Ear {
    open: Arc<ByUser>,
    user: String,
    changes: broadcast::Receiver<Arc<Change>>,
}

impl Ear {
    pub(super) async fn next(&mut self) -> Result<Arc<Change>, RecvError> {
        self.changes.recv().await
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Some(theirs) = open.get_mut(&self.user) {
            theirs.pages -= 1;
            if theirs.pages == 0 {
                open.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::machine::Collection;
    use crate::core::time::Timestamp;

    #[tokio::test]
    async fn every_page_of_an_employee_hears_and_the_last_leaves_nothing_behind() {
        let live = Live::default();
        let mut ears: Vec<_> = (0..MOST_PAGES).filter_map(|_| live.listen("a")).collect();
        assert_eq!(ears.len(), MOST_PAGES);
        assert!(live.listen("a").is_none());
        let other = live.listen("b");

        live.tell("a", row(), said("hello"), true);
        for ear in &mut ears {
            assert_eq!(ear.next().await.map(|c| c.entry.clone()), Ok(said("hello")));
        }
        ears.pop();
        assert!(live.listen("a").is_some());

        drop(ears);
        live.tell("a", row(), said("to nobody"), true);
        assert_eq!(live.open.lock().keys().collect::<Vec<_>>(), ["b"]);
        drop(other);
        assert!(live.open.lock().is_empty());
    }

    fn said(text: &str) -> Entry<'static> {
        Entry::Employee {
            text: text.to_owned(),
        }
    }

    fn row() -> Row {
        Row {
            collection: Collection::ChatMessages,
            id: "1".to_owned(),
            at: Timestamp::from_millis(0),
            fields: Vec::new(),
            body: String::new(),
            expires: None,
        }
    }
}
