//! The journal's chunks: reading them, a case's own records, and letting the oldest go.

use redis::Cmd;

use super::answer::CallError;
use super::{RedisStore, chunk, format, scripts};
use crate::core::ids::CaseId;
use crate::store::{Head, JournalRow, Retention, StoreError};

/// Records let go in one call.
const PIECE: usize = 1_000;
/// Records read in one call: what its answer takes stays small.
const MOST_READ: usize = 10_000;

/// What `timeline.lua` answers: chunks that were moved aside, the numbers of those that were not, chunks with these.
type Part = (Vec<Vec<u8>>, String, Vec<Vec<u8>>);

/// `key`: where the chunks lie.
fn decode(key: &str, chunks: &[Vec<u8>]) -> Result<Vec<JournalRow>, StoreError> {
    let mut rows = Vec::new();
    for chunk in chunks {
        let records = chunk::decode(chunk);
        rows.extend(records.ok_or_else(|| format::unreadable(key, "chunks of records"))?);
    }
    Ok(rows)
}

impl RedisStore {
    pub(super) async fn records(
        &self,
        partition: u16,
        after: u64,
        limit: usize,
    ) -> Result<Vec<JournalRow>, StoreError> {
        let mut cmd = scripts::JOURNAL.call(&self.prefix(partition));
        cmd.arg(after).arg(limit.min(MOST_READ));
        let (first, last, chunks): (u64, u64, Vec<Vec<u8>>) = self
            .reads
            .run(&scripts::JOURNAL, &cmd)
            .await
            .map_err(CallError::on_read)?;
        let key = format!("{}j", self.prefix(partition));
        let mut rows = decode(&key, &chunks)?;
        rows.retain(|row| (first..=last).contains(&row.seq));
        let mut found = rows.iter().map(|row| row.seq);
        match (first..=last).find(|seq| found.next() != Some(*seq)) {
            None => Ok(rows),
            Some(seq) => Err(format::unreadable(
                &format!("record {seq} of {key}"),
                "one after the other",
            )),
        }
    }

    pub(super) async fn ends(&self, partition: u16) -> Result<(Head, Head), StoreError> {
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(format!("{}lease", self.prefix(partition)))
            .arg("head")
            .arg("anchor");
        let (head, anchor): (Option<String>, Option<String>) =
            self.reads.call(&cmd).await.map_err(CallError::on_read)?;
        let read = |end: Option<String>| {
            end.map_or_else(|| Ok(Head::default()), |end| format::read_head(&end))
        };
        Ok((read(head)?, read(anchor)?))
    }

    pub(super) async fn timeline_everywhere(
        &self,
        case: CaseId,
    ) -> Result<Vec<JournalRow>, StoreError> {
        let (name, packed) = (case.to_string(), case.to_bytes());
        let cmds: Vec<Cmd> = (0..self.partitions)
            .map(|partition| {
                let mut cmd = scripts::TIMELINE.call(&self.prefix(partition));
                cmd.arg(&name).arg(&packed[..]);
                cmd
            })
            .collect();
        let parts = self.reads.each(Some(&scripts::TIMELINE), &cmds).await;
        let parts: Vec<Part> = parts.map_err(CallError::on_read)?;
        let mut records = Vec::new();
        for (partition, (moved, seqs, chunks)) in (0..).zip(parts) {
            let prefix = self.prefix(partition);
            records.extend(decode(&format!("{prefix}tl:{name}"), &moved)?);
            let seqs: Vec<u64> = seqs.split(' ').filter_map(|seq| seq.parse().ok()).collect();
            let kept = decode(&format!("{prefix}j"), &chunks)?.into_iter();
            records.extend(kept.filter(|row| row.case == Some(case) && seqs.contains(&row.seq)));
        }
        Ok(records)
    }

    /// Whether there is more to let go.
    pub(super) async fn forget(
        &self,
        partition: u16,
        keep: &Retention,
    ) -> Result<bool, StoreError> {
        let (_, anchor) = self.ends(partition).await?;
        let oldest = self.records(partition, anchor.seq, PIECE).await?;
        let gone =
            |row: &&JournalRow| row.at < keep.journal_before && row.seq <= keep.journal_through;
        let gone: Vec<&JournalRow> = oldest.iter().take_while(gone).collect();
        let Some(last) = gone.last() else {
            return Ok(false);
        };
        let end = Head {
            seq: last.seq,
            hash: last.hash.clone(),
        };
        let mut cmd = scripts::FORGET.call(&self.prefix(partition));
        cmd.arg(format::head(&anchor)).arg(format::head(&end));
        let of_cases = gone.iter().filter_map(|row| Some((row.case?, *row)));
        cmd.arg(of_cases.clone().count());
        for (case, row) in of_cases {
            cmd.arg(case.to_string())
                .arg(&case.to_bytes()[..])
                .arg(row.seq)
                .arg(chunk::encode([row]));
        }
        let _: i64 = self
            .writes
            .run(&scripts::FORGET, &cmd)
            .await
            .map_err(CallError::on_read)?;
        Ok(gone.len() == PIECE)
    }
}
