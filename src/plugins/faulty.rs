//! Chat, factor, pager and sink whose calls pass two dangerous windows each. What fails after was done,
//! and nobody was told.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::core::conversation::Proof;
use crate::core::ids::{ChatIdentity, EmployeeId, OperatorName};
use crate::core::machine::{Receipt, Row};
use crate::core::page::Page;
use crate::core::time::Timestamp;
use crate::fault::{When, window};
use crate::messages::Rendered;

use super::Health;
use super::chat::{Chat, ChatError, Person, Place};
use super::factors::{CodeFactor, Enrolment};
use super::pagers::{Pager, PagerError};
use super::sinks::{Report, Sink, SinkError};

pub struct FaultyChat(pub Arc<dyn Chat>);
pub struct FaultyFactor(pub Arc<dyn CodeFactor>);
pub struct FaultyPager(pub Arc<dyn Pager>);
pub struct FaultySink(pub Arc<dyn Sink>);

/// Both windows around a call to the chat.
async fn around<T>(
    call: &str,
    inner: impl Future<Output = Result<T, ChatError>>,
) -> Result<T, ChatError> {
    let before = window(call, When::Before).await;
    before.map_err(|injected| ChatError::Unavailable(injected.to_string()))?;
    let done = inner.await?;
    let after = window(call, When::After).await;
    after.map_err(|injected| ChatError::Unclear(injected.to_string()))?;
    Ok(done)
}

#[async_trait]
impl Chat for FaultyChat {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn is_idempotent(&self) -> bool {
        self.0.is_idempotent()
    }

    async fn send(
        &self,
        to: &ChatIdentity,
        key: &str,
        message: &Rendered,
    ) -> Result<Receipt, ChatError> {
        around("chat.send", self.0.send(to, key, message)).await
    }

    async fn edit(
        &self,
        to: &ChatIdentity,
        message_id: &str,
        message: &Rendered,
    ) -> Result<Receipt, ChatError> {
        around("chat.edit", self.0.edit(to, message_id, message)).await
    }

    async fn find(
        &self,
        to: &ChatIdentity,
        key: &str,
        since: Timestamp,
    ) -> Result<Option<Receipt>, ChatError> {
        around("chat.find", self.0.find(to, key, since)).await
    }

    async fn people(&self) -> Result<Option<Vec<Person>>, ChatError> {
        self.0.people().await
    }

    fn lives_in_the_store(&self) -> bool {
        self.0.lives_in_the_store()
    }

    fn as_row(
        &self,
        to: &ChatIdentity,
        place: Place<'_>,
        message: &Rendered,
        now: Timestamp,
    ) -> Option<(Row, Receipt)> {
        self.0.as_row(to, place, message, now)
    }

    fn show(&self, to: &ChatIdentity, row: Row, message: Rendered, fresh: bool) {
        self.0.show(to, row, message, fresh);
    }

    async fn health(&self) -> Health {
        self.0.health().await
    }
}

#[async_trait]
impl CodeFactor for FaultyFactor {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn enroll(&self, employee: &EmployeeId, label: &str) -> Enrolment {
        self.0.enroll(employee, label)
    }

    async fn check(&self, employee: &EmployeeId, sealed: &str, code: &SecretString) -> Proof {
        let unavailable = |injected: crate::fault::Injected| Proof::Unavailable {
            reason: injected.to_string(),
        };
        if let Err(injected) = window("factor.check", When::Before).await {
            return unavailable(injected);
        }
        let proof = self.0.check(employee, sealed, code).await;
        match window("factor.check", When::After).await {
            Ok(()) => proof,
            Err(injected) => unavailable(injected),
        }
    }
}

#[async_trait]
impl Pager for FaultyPager {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn refresh_every(&self) -> Option<Duration> {
        self.0.refresh_every()
    }

    async fn page(&self, page: &Page) -> Result<(), PagerError> {
        let lost = |injected: crate::fault::Injected| PagerError::Unavailable(injected.to_string());
        window("pager.page", When::Before).await.map_err(lost)?;
        self.0.page(page).await?;
        window("pager.page", When::After).await.map_err(lost)
    }

    async fn acknowledge(&self, page: &Page, by: &OperatorName) -> Result<(), PagerError> {
        self.0.acknowledge(page, by).await
    }

    async fn change(
        &self,
        page: &Page,
        acknowledged_by: Option<&OperatorName>,
    ) -> Result<(), PagerError> {
        self.0.change(page, acknowledged_by).await
    }

    async fn resolve(
        &self,
        page: &Page,
        by: &OperatorName,
        reason: &str,
    ) -> Result<(), PagerError> {
        self.0.resolve(page, by, reason).await
    }

    async fn health(&self) -> Health {
        self.0.health().await
    }
}

#[async_trait]
impl Sink for FaultySink {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn at_once(&self) -> usize {
        self.0.at_once()
    }

    async fn deliver(&self, reports: &[Report]) -> Result<(), SinkError> {
        let lost = |injected: crate::fault::Injected| SinkError::Unavailable(injected.to_string());
        window("sink.deliver", When::Before).await.map_err(lost)?;
        self.0.deliver(reports).await?;
        window("sink.deliver", When::After).await.map_err(lost)
    }
}
