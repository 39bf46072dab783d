//! Alerts that wait as Redis keeps them: those of one accepting commit together, packed. They come together and are
//! soon taken together, so that one value costs the server, and us, what each of them would by itself.

use super::chunk::{part, take_text};
use super::{format, pack};
use crate::store::{QueuedAlert, QueuedChunk};

/// A chunk begins with this, how many alerts it has (for `lease.lua`) and `\n`. Until schema 3 each alert was a value of
/// its own, which begins with a digit.
const CHUNK: u8 = b'c';

pub(super) fn encode(alerts: &[QueuedAlert]) -> Vec<u8> {
    let mut plain = Vec::new();
    for alert in alerts {
        part(&alert.receiver, &mut plain);
        part(&alert.body, &mut plain);
    }
    let mut value = vec![CHUNK];
    value.extend_from_slice(alerts.len().to_string().as_bytes());
    value.push(b'\n');
    pack::pack(&plain, &mut value);
    value
}

/// `last` is what the queue's index says; what can be read knows better.
pub(super) fn decode(first: u64, last: u64, value: &[u8]) -> QueuedChunk {
    let alerts = match value.first() {
        Some(b'0'..=b'9') if first == last => Some(vec![format::read_queued(first, value)]),
        Some(&CHUNK) => alerts(first, value),
        _ => None,
    };
    let count = match &alerts {
        Some(alerts) => alerts.len() as u64,
        None => last.saturating_sub(first).saturating_add(1),
    };
    QueuedChunk {
        first,
        count,
        alerts: alerts.ok_or_else(|| format!("damaged, {} bytes are left of it", value.len())),
    }
}

/// `None`: damaged.
fn alerts(first: u64, value: &[u8]) -> Option<Vec<QueuedAlert>> {
    let (head, packed) = format::line(value)?;
    let count: usize = head.get(1..)?.parse().ok()?;
    let plain = pack::unpack(packed)?;
    let mut rest = plain.as_slice();
    let mut alerts = Vec::new();
    while !rest.is_empty() {
        alerts.push(QueuedAlert {
            number: first.checked_add(alerts.len() as u64)?,
            receiver: take_text(&mut rest)?,
            body: take_text(&mut rest)?,
        });
    }
    (alerts.len() == count && count > 0).then_some(alerts)
}
