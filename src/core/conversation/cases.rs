//! The cases of a conversation, by id. Each step makes the next state beside the old one, which still stands if the
//! commit fails: cases that a step leaves alone are shared by both, so that a person with many open questions costs no
//! more per event than one with a few.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::ids::CaseId;

use super::open_case::Case;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cases(BTreeMap<CaseId, Arc<Case>>);

impl Cases {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, id: &CaseId) -> Option<&Case> {
        self.0.get(id).map(Arc::as_ref)
    }

    /// From here on the case is this state's own.
    pub fn get_mut(&mut self, id: &CaseId) -> Option<&mut Case> {
        self.0.get_mut(id).map(Arc::make_mut)
    }

    /// In the order of their ids.
    pub fn values(&self) -> impl Iterator<Item = &Case> {
        self.0.values().map(Arc::as_ref)
    }

    pub fn insert(&mut self, case: Case) {
        self.0.insert(case.id, Arc::new(case));
    }

    pub fn retain(&mut self, kept: impl Fn(&Case) -> bool) {
        self.0.retain(|_, case| kept(case));
    }
}
