//! What the commit script decided, as the contract says it.

use crate::store::{Refusal, Seen, WriteError};

/// What `commit.lua` answered.
pub(super) fn read(reply: &str) -> Result<(), WriteError> {
    match reply {
        "ok" => return Ok(()),
        "fenced" => return Err(WriteError::Fenced),
        _ => {}
    }
    let refused = serde_json::from_str::<Vec<(usize, String, serde_json::Value)>>(reply)
        .ok()
        .and_then(|refused| {
            refused
                .into_iter()
                .map(|(index, kind, why)| Some((index, refusal(&kind, &why)?)))
                .collect::<Option<Vec<_>>>()
        });
    // The script has answered, so it has written nothing; but what it said is not known.
    Err(refused.map_or_else(
        || WriteError::Unknown(format!("an unreadable verdict: {reply}")),
        WriteError::Refused,
    ))
}

fn refusal(kind: &str, why: &serde_json::Value) -> Option<Refusal> {
    if kind == "c" {
        let found = why.as_str()?.parse().ok()?;
        return Some(Refusal::Conflict { found });
    }
    let numbers: Vec<usize> = serde_json::from_value(why.clone()).ok()?;
    let marks = numbers.chunks_exact(2).map(|pair| {
        let seen = if pair[1] == 1 {
            Seen::Same
        } else {
            Seen::Altered
        };
        (pair[0], seen)
    });
    Some(Refusal::Duplicate(marks.collect()))
}
