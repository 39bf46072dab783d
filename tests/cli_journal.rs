//! `journal verify --offline` reads every partition to its stored head: a record that does not follow,
//! and a tail that is gone, both fail.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::time::Duration;

use async_trait::async_trait;
use securitybot::cli::verify_offline;
use securitybot::core::ids::{AggregateKey, CaseId};
use securitybot::core::machine::{Collection, Row, RowChange};
use securitybot::core::time::Timestamp;
use securitybot::store::*;

/// A store that has nothing but journals: records per partition and what the head says.
struct Journals(Vec<(Vec<JournalRow>, Head)>);

#[async_trait]
impl Store for Journals {
    fn kind(&self) -> &'static str {
        "journals"
    }
    fn partitions(&self) -> u16 {
        u16::try_from(self.0.len()).unwrap_or(0)
    }
    async fn journal(
        &self,
        partition: u16,
        after: u64,
        limit: usize,
    ) -> Result<Vec<JournalRow>, StoreError> {
        let rows = self.0[usize::from(partition)]
            .0
            .iter()
            .filter(|row| row.seq > after);
        Ok(rows.take(limit).cloned().collect())
    }
    async fn journal_ends(&self, partition: u16) -> Result<(Head, Head), StoreError> {
        Ok((self.0[usize::from(partition)].1.clone(), Head::default()))
    }
    async fn claim(&self, _: u16, _: &str, _: Timestamp, _: Duration) -> Result<Claim, StoreError> {
        none()
    }
    async fn renew(
        &self,
        _: u16,
        _: &str,
        _: Epoch,
        _: Timestamp,
        _: Duration,
    ) -> Result<bool, StoreError> {
        none()
    }
    async fn release(&self, _: u16, _: &str, _: Epoch) -> Result<(), StoreError> {
        none()
    }
    async fn write(&self, _: &Batch) -> Result<(), WriteError> {
        Err(WriteError::Failed("only journals".to_owned()))
    }
    async fn load_all(&self, _: u16, _: &[&str]) -> Result<Vec<Found>, StoreError> {
        none()
    }
    async fn due(&self, _: u16, _: Timestamp, _: usize) -> Result<Vec<Due>, StoreError> {
        none()
    }
    async fn queue(&self, _: &AggregateKey) -> Result<Queue, StoreError> {
        none()
    }
    async fn queued(
        &self,
        _: &AggregateKey,
        _: u64,
        _: usize,
    ) -> Result<Vec<QueuedChunk>, StoreError> {
        none()
    }
    async fn sources(&self, _: u16) -> Result<Vec<AggregateKey>, StoreError> {
        none()
    }
    async fn timeline(&self, _: CaseId) -> Result<Vec<JournalRow>, StoreError> {
        none()
    }
    async fn named(&self, _: Collection, _: &[&str]) -> Result<Vec<Row>, StoreError> {
        none()
    }
    async fn rows(&self, _: &RowQuery) -> Result<RowPage, StoreError> {
        none()
    }
    async fn put_rows(&self, _: u16, _: &[RowChange], _: bool) -> Result<usize, WriteError> {
        Err(WriteError::Failed("only journals".to_owned()))
    }
    async fn trim(&self, _: u16, _: &Retention) -> Result<bool, StoreError> {
        none()
    }
    async fn health(&self) -> Health {
        Health::default()
    }
    async fn close(&self) {}
}

fn none<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("only journals".to_owned()))
}

/// Stands in for the real chain: a record follows when its hash is its number.
fn chain(anchor: &Head, rows: &[JournalRow]) -> Result<Head, String> {
    rows.iter().try_fold(anchor.clone(), |end, row| {
        match row.seq == end.seq + 1 && row.hash == row.seq.to_string() {
            true => Ok(Head {
                seq: row.seq,
                hash: row.hash.clone(),
            }),
            false => Err(format!("broken at record {}", row.seq)),
        }
    })
}

fn journal(records: u64) -> (Vec<JournalRow>, Head) {
    let rows = (1..=records).map(|seq| JournalRow {
        seq,
        case: None,
        at: Timestamp::from_millis(0),
        body: "{}".to_owned(),
        hash: seq.to_string(),
    });
    (
        rows.collect(),
        Head {
            seq: records,
            hash: records.to_string(),
        },
    )
}

#[tokio::test]
async fn an_offline_check_finds_a_changed_record_and_a_cut_tail() {
    let mut out = Vec::new();
    // Longer than what is read at a time.
    let whole = Journals(vec![journal(2_500), (Vec::new(), Head::default())]);
    verify_offline(&whole, chain, &mut out).await.unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(
        out.contains("2500") && out.ends_with("the journal is whole\n"),
        "{out}"
    );

    let (mut changed, mut cut) = (journal(2_500), journal(3));
    changed.0[2_400].hash = "x".to_owned();
    cut.0.pop();
    let failure = verify_offline(&Journals(vec![changed, cut]), chain, &mut Vec::new())
        .await
        .unwrap_err();
    assert_eq!(failure.code, 1);
    assert!(
        failure
            .message
            .contains("partition 0: broken at record 2401"),
        "{failure}"
    );
    assert!(
        failure
            .message
            .contains("partition 1: the records end at 2, the stored head is 3"),
        "{failure}"
    );
}
