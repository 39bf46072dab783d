//! What the store gives back: checkpoints and rows, possibly damaged.

use securitybot::actors::checkpoint;
use securitybot::core::alert::Alert;
use securitybot::core::case::CaseView;
use securitybot::core::conversation::{Conversation, SnoozeRow};
use securitybot::core::escalation::{Escalation, EscalationRow};
use securitybot::core::machine::Machine;
use serde_json::from_str;

use crate::engine::{fuzz, survives};

fn reads_the_same<M: Machine>(bytes: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(bytes);
    let Ok((state, outbox)) = checkpoint::decode::<M>("employee/alice", &text) else {
        return Ok(());
    };
    let written = checkpoint::encode(&state, &outbox);
    let (again, its_outbox) =
        checkpoint::decode::<M>("employee/alice", &written).map_err(|error| error.to_string())?;
    match again == state && checkpoint::encode(&again, &its_outbox) == written {
        true => Ok(()),
        false => Err("another state when written and read again".to_owned()),
    }
}

#[test]
fn checkpoints() {
    fuzz("checkpoint", |bytes| {
        reads_the_same::<Conversation>(bytes)?;
        reads_the_same::<Escalation>(bytes)
    });
}

#[test]
fn rows() {
    fuzz("row", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        from_str::<CaseView>(&text).map_or(Ok(()), |row| survives(&row))?;
        from_str::<SnoozeRow>(&text).map_or(Ok(()), |row| survives(&row))?;
        from_str::<Alert>(&text).map_or(Ok(()), |row| survives(&row))?;
        from_str::<EscalationRow>(&text).map_or(Ok(()), |row| survives(&row))
    });
}
