//! Everything a step may look at besides its own state: the operators' policy and the directory.
//! Replaced as a whole by a reload, handed along as an `Arc`.

use super::employee::Directory;
use super::policy::Policy;

#[derive(Clone, Debug)]
pub struct World {
    pub policy: Policy,
    pub directory: Directory,
    /// Fixed when the store was made.
    pub partitions: u16,
}
