//! Rows and timelines in memory: as much of a store as HTTP reads. The rest must not be asked.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use securitybot::core::ids::{AggregateKey, CaseId};
use securitybot::core::machine::{Collection, Row, RowChange};
use securitybot::core::time::Timestamp;
use securitybot::store::*;

#[derive(Default)]
pub struct FakeStore {
    pub rows: Mutex<BTreeMap<(Collection, String), Row>>,
    pub journals: Mutex<BTreeMap<u16, Vec<JournalRow>>>,
    pub is_down: Mutex<bool>,
}

impl FakeStore {
    pub fn put(&self, row: Row) {
        let key = (row.collection, row.id.clone());
        self.rows.lock().unwrap().insert(key, row);
    }

    pub fn ids(&self, collection: Collection) -> Vec<String> {
        let rows = self.rows.lock().unwrap();
        rows.keys()
            .filter(|(of, _)| *of == collection)
            .map(|(_, id)| id.clone())
            .collect()
    }

    pub fn update(
        &self,
        collection: Collection,
        id: &str,
        change: impl Fn(&mut serde_json::Value),
    ) {
        let mut rows = self.rows.lock().unwrap();
        let row = rows.get_mut(&(collection, id.to_owned())).unwrap();
        let mut body = serde_json::from_str(&row.body).unwrap();
        change(&mut body);
        for (name, value) in &mut row.fields {
            if let Some(text) = body[*name].as_str() {
                text.clone_into(value);
            }
        }
        row.body = body.to_string();
    }

    fn check(&self) -> Result<(), StoreError> {
        match *self.is_down.lock().unwrap() {
            true => Err(StoreError::Unavailable("the disk is gone".to_owned())),
            false => Ok(()),
        }
    }
}

const NOT_ASKED: &str = "HTTP has no business with this";

#[async_trait]
impl Store for FakeStore {
    fn kind(&self) -> &'static str {
        "fake"
    }
    fn partitions(&self) -> u16 {
        8
    }
    async fn claim(&self, _: u16, _: &str, _: Timestamp, _: Duration) -> Result<Claim, StoreError> {
        panic!("{NOT_ASKED}")
    }
    async fn renew(
        &self,
        _: u16,
        _: &str,
        _: Epoch,
        _: Timestamp,
        _: Duration,
    ) -> Result<bool, StoreError> {
        panic!("{NOT_ASKED}")
    }
    async fn release(&self, _: u16, _: &str, _: Epoch) -> Result<(), StoreError> {
        panic!("{NOT_ASKED}")
    }
    async fn write(&self, _: &Batch) -> Result<(), WriteError> {
        panic!("{NOT_ASKED}")
    }
    async fn load_all(&self, _: u16, _: &[&str]) -> Result<Vec<Found>, StoreError> {
        panic!("{NOT_ASKED}")
    }
    async fn due(&self, _: u16, _: Timestamp, _: usize) -> Result<Vec<Due>, StoreError> {
        panic!("{NOT_ASKED}")
    }
    async fn queue(&self, _: &AggregateKey) -> Result<Queue, StoreError> {
        panic!("{NOT_ASKED}")
    }
    async fn queued(
        &self,
        _: &AggregateKey,
        _: u64,
        _: usize,
    ) -> Result<Vec<QueuedChunk>, StoreError> {
        panic!("{NOT_ASKED}")
    }
    async fn sources(&self, _: u16) -> Result<Vec<AggregateKey>, StoreError> {
        panic!("{NOT_ASKED}")
    }
    async fn journal(
        &self,
        partition: u16,
        after: u64,
        limit: usize,
    ) -> Result<Vec<JournalRow>, StoreError> {
        let journals = self.journals.lock().unwrap();
        let rows = journals.get(&partition).into_iter().flatten();
        Ok(rows
            .filter(|row| row.seq > after)
            .take(limit)
            .cloned()
            .collect())
    }
    async fn journal_ends(&self, partition: u16) -> Result<(Head, Head), StoreError> {
        let journals = self.journals.lock().unwrap();
        let last = journals.get(&partition).and_then(|rows| rows.last());
        let head = last.map(|row| Head {
            seq: row.seq,
            hash: row.hash.clone(),
        });
        Ok((head.unwrap_or_default(), Head::default()))
    }
    async fn timeline(&self, case: CaseId) -> Result<Vec<JournalRow>, StoreError> {
        let journals = self.journals.lock().unwrap();
        let rows = journals.values().flatten();
        Ok(rows.filter(|row| row.case == Some(case)).cloned().collect())
    }
    async fn named(&self, collection: Collection, ids: &[&str]) -> Result<Vec<Row>, StoreError> {
        self.check()?;
        let rows = self.rows.lock().unwrap();
        let row = |id: &&str| rows.get(&(collection, (*id).to_owned())).cloned();
        Ok(ids.iter().filter_map(row).collect())
    }
    async fn rows(&self, query: &RowQuery) -> Result<RowPage, StoreError> {
        self.check()?;
        let skip: usize = query.cursor.as_ref().map_or(0, |c| c.parse().unwrap());
        let rows = self.rows.lock().unwrap();
        let mut found: Vec<Row> = rows
            .values()
            .filter(|row| row.collection == query.collection)
            .filter(|row| {
                query
                    .fields
                    .iter()
                    .all(|wanted| row.fields.contains(wanted))
                    && query.since.is_none_or(|since| row.at >= since)
                    && query.until.is_none_or(|until| row.at < until)
            })
            .cloned()
            .collect();
        found.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
        let more = found.len() > skip + query.limit;
        Ok(RowPage {
            rows: found.into_iter().skip(skip).take(query.limit).collect(),
            next: more.then(|| (skip + query.limit).to_string()),
        })
    }
    async fn put_rows(&self, _: u16, rows: &[RowChange], _: bool) -> Result<usize, WriteError> {
        for row in rows {
            match row {
                RowChange::Put(row) | RowChange::New(row) => self.put(row.clone()),
                RowChange::Delete { collection, id } => {
                    self.rows.lock().unwrap().remove(&(*collection, id.clone()));
                }
            }
        }
        Ok(rows.len())
    }
    async fn trim(&self, _: u16, _: &Retention) -> Result<bool, StoreError> {
        panic!("{NOT_ASKED}")
    }
    async fn health(&self) -> Health {
        Health::default()
    }
    async fn close(&self) {}
}
