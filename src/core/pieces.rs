//! What of a machine's state is stored by itself: one piece for each of its cases. Each step makes the next state
//! beside the old one, which still stands if the commit fails: pieces that a step leaves alone are shared by both, and
//! are not written again. So a person with many open questions costs no more per event than one with a few.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::core::ids::CaseId;

pub trait Piece:
    Clone + std::fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + Unpin + 'static
{
    fn id(&self) -> CaseId;
}

/// Of a machine whose state is stored in one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Whole {}

impl Piece for Whole {
    fn id(&self) -> CaseId {
        match *self {}
    }
}

/// In the order of their ids.
#[derive(Clone, Debug)]
pub struct Pieces<P>(Vec<Arc<P>>);

impl<P> Default for Pieces<P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<P: Piece> Pieces<P> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn find(&self, id: &CaseId) -> Result<usize, usize> {
        self.0.binary_search_by(|piece| piece.id().cmp(id))
    }

    pub fn get(&self, id: &CaseId) -> Option<&P> {
        self.find(id).ok().map(|at| self.0[at].as_ref())
    }

    /// From here on the piece is this state's own.
    pub fn get_mut(&mut self, id: &CaseId) -> Option<&mut P> {
        self.find(id).ok().map(|at| Arc::make_mut(&mut self.0[at]))
    }

    pub fn values(&self) -> impl Iterator<Item = &P> {
        self.0.iter().map(Arc::as_ref)
    }

    pub fn shared(&self) -> &[Arc<P>] {
        &self.0
    }

    pub fn insert(&mut self, piece: impl Into<Arc<P>>) {
        let piece = piece.into();
        match self.find(&piece.id()) {
            Ok(at) => self.0[at] = piece,
            Err(at) => self.0.insert(at, piece),
        }
    }

    pub fn retain(&mut self, kept: impl Fn(&P) -> bool) {
        self.0.retain(|piece| kept(piece));
    }
}

impl<P: PartialEq> PartialEq for Pieces<P> {
    fn eq(&self, other: &Self) -> bool {
        let same = |(one, other): (&Arc<P>, &Arc<P>)| Arc::ptr_eq(one, other) || one == other;
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }
}

/// As an object by id.
impl<P: Piece> Serialize for Pieces<P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|piece| (piece.id(), piece)))
    }
}

impl<'de, P: Piece> Deserialize<'de> for Pieces<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = std::collections::BTreeMap::<CaseId, P>::deserialize(deserializer)?;
        let mut pieces = Self::default();
        for (id, piece) in found {
            if piece.id() != id {
                let why = format!("{} under the id {id}", piece.id());
                return Err(serde::de::Error::custom(why));
            }
            pieces.insert(piece);
        }
        Ok(pieces)
    }
}
