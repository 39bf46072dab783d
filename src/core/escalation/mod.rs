//! The paging ladder as a machine: level by level, again and again, until a named operator
//! acknowledges, and in the end resolves it with a reason. It prevents the quiet failure: an open
//! escalation always has either a time at which it acts again or a page on its way.
//!
//! # An acknowledgement that races the next level
//!
//! The first commit wins. If the level's commit was first, the level stays begun: pages that were
//! started are delivered and their pagers told of the acknowledgement, pages not yet started are
//! withdrawn. If the acknowledgement was first, the level does not begin while it holds. It is always
//! for the whole escalation. While it holds the ladder's clock stands still: nothing is repeated,
//! begun or refreshed (a pager that needs refreshing lets the page lapse, as somebody is on it). When
//! it expires, the level reached, and any whose page was withdrawn, is paged again at once and the
//! ladder goes on from there.

pub mod event;
pub mod row;
pub mod state;
pub mod text;

mod acknowledged;
mod assigned;
mod draft;
mod effect_settled;
mod raised;
mod rebuilt;
mod resolved;
mod woken;

pub use event::{Effect, Event, Reply};
pub use row::EscalationRow;
pub use state::Escalation;
pub use text::page_text;
