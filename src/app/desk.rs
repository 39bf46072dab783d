//! Operators who act from the chat: the platform's own user id finds the operator, and what they may do is the same as
//! on the pages (promise P5).

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use actix_web::web;
use async_trait::async_trait;

use crate::config::{Config, Role};
use crate::core::ids::{CaseId, ChatIdentity, OperatorName};
use crate::core::text::Untrusted;
use crate::http::error::ApiError;
use crate::http::{Http, act};
use crate::plugins::chat::slack::{Desk, DeskError};

pub struct OperatorDesk {
    http: web::Data<Http>,
    by_user: RwLock<BTreeMap<String, OperatorName>>,
}

impl OperatorDesk {
    pub fn new(http: web::Data<Http>, config: &Config) -> Self {
        let desk = Self {
            http,
            by_user: RwLock::default(),
        };
        desk.set_config(config);
        desk
    }

    /// A reload that stands.
    pub fn set_config(&self, config: &Config) {
        let may_act = config.operators.iter().filter(|operator| {
            operator.roles.contains(&Role::Responder) || operator.roles.contains(&Role::Admin)
        });
        let by_user =
            may_act.filter_map(|operator| Some((operator.chat.clone()?, operator.name.clone())));
        *self.by_user.write().unwrap_or_else(PoisonError::into_inner) = by_user.collect();
    }

    fn operator(&self, who: &ChatIdentity) -> Result<OperatorName, DeskError> {
        let by_user = self.by_user.read().unwrap_or_else(PoisonError::into_inner);
        by_user.get(&who.user).cloned().ok_or(DeskError::Stranger)
    }

    /// An operator's name, or an employee's id.
    fn name_of(&self, who: &ChatIdentity) -> Option<String> {
        if let Ok(operator) = self.operator(who) {
            return Some(operator.to_string());
        }
        let world = self.http.world.borrow();
        let employee = world.directory.by_chat(who)?;
        Some(employee.id.to_string())
    }
}

#[async_trait]
impl Desk for OperatorDesk {
    async fn acknowledge(&self, who: &ChatIdentity, id: CaseId) -> Result<(), DeskError> {
        let operator = self.operator(who)?;
        act::acknowledge(&self.http, id, operator)
            .await
            .map_err(failed)
    }

    async fn resolve(
        &self,
        who: &ChatIdentity,
        id: CaseId,
        reason: Untrusted,
    ) -> Result<(), DeskError> {
        let operator = self.operator(who)?;
        act::resolve(&self.http, id, operator, reason.raw())
            .await
            .map_err(failed)
    }

    async fn assign(
        &self,
        who: &ChatIdentity,
        id: CaseId,
        to: &ChatIdentity,
    ) -> Result<String, DeskError> {
        let operator = self.operator(who)?;
        let name = self.name_of(to).ok_or_else(|| {
            DeskError::No("neither an operator nor an employee I know has that account".to_owned())
        })?;
        act::assign(&self.http, id, operator.clone(), &name)
            .await
            .map_err(failed)?;
        Ok(operator.to_string())
    }

    async fn note(&self, who: &ChatIdentity, id: CaseId, text: Untrusted) -> Result<(), DeskError> {
        let operator = self.operator(who)?;
        act::note(&self.http, id, operator, text.raw())
            .await
            .map_err(failed)
    }
}

fn failed(error: ApiError) -> DeskError {
    match error.status.is_server_error() {
        true => DeskError::TryAgain(error.to_string()),
        false => DeskError::No(error.to_string()),
    }
}
