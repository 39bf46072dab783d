//! Pages about the bot itself. Each has an id made of what it is about, so that raising it again, after a
//! crash or by the next one who notices, is the same page and not another.

use sha2::{Digest, Sha256};

use crate::core::alert::Severity;
use crate::core::ids::CaseId;
use crate::core::page::{PageKind, Raise};
use crate::core::policy::DEFAULT_LADDER;
use crate::core::rollup;
use crate::core::time::Timestamp;
use crate::core::world::World;

/// The same `about` and `since` are the same page, on the default ladder.
pub fn page(world: &World, about: &str, since: Timestamp, summary: String) -> Raise {
    let digest = Sha256::digest(about.as_bytes());
    let entropy = u128::from_be_bytes(*digest.first_chunk().expect("16 of 32 bytes"));
    let id = CaseId::new(since, entropy, 0);
    Raise {
        id,
        kind: PageKind::Operations,
        round: 1,
        urgency: Severity::High,
        summary,
        notes: Vec::new(),
        case: None,
        related: Vec::new(),
        ladder: world.policy.ladder(DEFAULT_LADDER).clone(),
        url: format!("{}/cases/{id}", world.policy.public_url),
    }
}

/// For what is paged at most once an hour: the beginning of the hour of `now`.
pub fn this_hour(now: Timestamp) -> Timestamp {
    rollup::hour_of(now).1
}
