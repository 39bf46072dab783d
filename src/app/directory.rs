//! Everybody the chat knows, beside everybody in the config. The list is kept in the store, so that a start while the
//! chat is down makes nobody unknown; a list that could not be read whole replaces nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::actors::Now;
use crate::actors::mailbox::Mailbox;
use crate::actors::messages::Reconfigure;
use crate::config::Config;
use crate::core::employee::{Directory, Employee, Shared};
use crate::core::ids::{EmployeeId, partition_of};
use crate::core::machine::{Collection, Row, RowChange};
use crate::core::world::World;
use crate::plugins::chat::{Chat, Person};
use crate::store::Store;

/// People join and leave by the day.
const EVERY: Duration = Duration::from_secs(3600);
/// After a list that could not be read.
const AGAIN: Duration = Duration::from_secs(60);
/// A first start waits this long for the first list: without it everybody is unknown.
const FIRST: Duration = Duration::from_secs(15);

/// The config's employees and the chat's people, put together again whenever either changes.
pub struct People {
    chat: &'static str,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    employees: Arc<[Employee]>,
    domains: Vec<String>,
    people: Vec<Person>,
}

/// What keeping the list fresh takes.
pub struct Refresh {
    pub chat: Arc<dyn Chat>,
    pub store: Arc<dyn Store>,
    pub now: Now,
    pub world: watch::Sender<Arc<World>>,
    pub doors: Vec<Mailbox<Reconfigure>>,
}

impl People {
    pub fn new(config: &Config) -> Self {
        let people = Self {
            chat: config.chat.name(),
            known: Mutex::default(),
        };
        people.set_config(config);
        people
    }

    /// A reload that stands.
    pub fn set_config(&self, config: &Config) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.employees = config.employees.clone();
        known.domains = config.domains.clone();
    }

    /// The directory as it would be under another config.
    pub fn with_config(&self, config: &Config) -> Directory {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let all = merged(&config.employees, &known.people);
        Directory::new(all, self.chat, &config.domains)
    }

    /// `None`: the list says nothing new.
    fn with_people(&self, people: Vec<Person>) -> Option<Directory> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.people == people {
            return None;
        }
        known.people = people;
        let all = merged(&known.employees, &known.people);
        let directory = Directory::new(all, self.chat, &known.domains);
        for (name, owners) in directory.ambiguous() {
            tracing::warn!(
                name,
                people = owners.len(),
                "a name of more than one person: alerts for it find nobody"
            );
        }
        Some(directory)
    }

    fn replace(
        &self,
        people: Vec<Person>,
        world: &watch::Sender<Arc<World>>,
    ) -> Option<Arc<World>> {
        let count = people.len();
        let directory = self.with_people(people)?;
        let mut next = world.borrow().as_ref().clone();
        next.directory = directory;
        let next = Arc::new(next);
        world.send_replace(next.clone());
        tracing::info!(people = count, "the chat's directory was read");
        Some(next)
    }

    /// Before anything else starts: the list as it was last known, or at the first start as it is now.
    pub async fn load(
        &self,
        chat: &dyn Chat,
        store: &dyn Store,
        now: &Now,
        world: &watch::Sender<Arc<World>>,
    ) {
        let kept = store.row(Collection::Documents, &self.document()).await;
        let kept = kept
            .inspect_err(|error| tracing::warn!(%error, "the kept directory cannot be read"))
            .ok()
            .flatten()
            .and_then(|row| serde_json::from_str(&row.body).ok());
        let people = match kept {
            Some(people) => Some(people),
            None => self.read(chat, store, now, FIRST).await.unwrap_or_default(),
        };
        if let Some(people) = people {
            self.replace(people, world);
        }
    }

    /// Reads the list again and again; ends at once when the chat has none.
    pub async fn keep_fresh(self: Arc<Self>, refresh: Refresh) {
        loop {
            let wait = match self
                .read(
                    refresh.chat.as_ref(),
                    refresh.store.as_ref(),
                    &refresh.now,
                    EVERY,
                )
                .await
            {
                Ok(None) => return,
                Ok(Some(people)) => {
                    if let Some(world) = self.replace(people, &refresh.world) {
                        for door in &refresh.doors {
                            let world = world.clone();
                            door.tell(Reconfigure { world });
                        }
                    }
                    EVERY
                }
                Err(why) => {
                    tracing::warn!(
                        why,
                        "the chat's directory cannot be read; the last one stays"
                    );
                    AGAIN
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// The whole list, kept for the next start. `None`: the chat has none.
    async fn read(
        &self,
        chat: &dyn Chat,
        store: &dyn Store,
        now: &Now,
        within: Duration,
    ) -> Result<Option<Vec<Person>>, String> {
        let read = tokio::time::timeout(within, chat.people()).await;
        let people = match read {
            Err(_) => return Err("it takes too long".to_owned()),
            Ok(Err(error)) => return Err(error.to_string()),
            Ok(Ok(None)) => return Ok(None),
            Ok(Ok(Some(people))) => people,
        };
        let id = self.document();
        let partition = partition_of(&id, store.partitions());
        let row = RowChange::Put(Row {
            collection: Collection::Documents,
            id,
            at: now(),
            fields: Vec::new(),
            body: serde_json::to_string(&people).expect("people are plain data"),
            expires: None,
        });
        if let Err(error) = store.put_rows(partition, &[row], false).await {
            tracing::warn!(%error, "the chat's directory could not be kept for the next start");
        }
        Ok(Some(people))
    }

    fn document(&self) -> String {
        format!("directory/{}", self.chat)
    }
}

/// The config's employees, each with the chat account of the same e-mail where it names none, and after them whoever only
/// the chat knows: under their e-mail, which never changes hands, and never under a name they can choose. The same list
/// where the chat adds nothing to it.
pub fn merged(employees: &Arc<[Employee]>, people: &[Person]) -> Arc<[Employee]> {
    let mut all = Cow::Borrowed(employees.as_ref());
    let mut shared = Shared::default();
    let fold = |text: &str| text.trim().to_ascii_lowercase();
    let mut by_email: BTreeMap<String, Vec<&Person>> = BTreeMap::new();
    for person in people {
        if let Some(email) = person.email.as_deref().map(fold)
            && email.contains('@')
        {
            by_email.entry(email).or_default().push(person);
        }
    }
    if by_email.is_empty() {
        return employees.clone();
    }
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    for (nth, employee) in employees.iter().enumerate() {
        let names = [Some(employee.id.as_str()), employee.email.as_deref()];
        let aliases = employee.aliases.iter().map(AsRef::as_ref);
        for name in names.into_iter().flatten().chain(aliases).map(fold) {
            if by_email.contains_key(&name) {
                named.entry(name).or_insert(nth);
            }
        }
    }
    let taken: BTreeSet<&str> = employees
        .iter()
        .filter_map(|employee| employee.chat.as_deref())
        .collect();
    for (email, accounts) in by_email {
        let [person] = accounts.as_slice() else {
            tracing::warn!(
                accounts = accounts.len(),
                "one e-mail on several chat accounts: none counts"
            );
            continue;
        };
        if taken.contains(person.user.as_str()) {
            continue;
        }
        let user = Some(person.user.as_str().into());
        let locale = person.locale.as_deref().map(|locale| shared.word(locale));
        match named.get(&email).copied() {
            Some(nth) if all[nth].chat.is_none() => {
                let employee = &mut all.to_mut()[nth];
                employee.chat = user;
                employee.locale = employee.locale.take().or(locale);
            }
            Some(_) => {}
            None => all.to_mut().push(Employee {
                id: EmployeeId::new(email.as_str()),
                name: person.name.as_str().into(),
                email: Some(email.into()),
                aliases: Box::default(),
                time_zone: shared.word(person.time_zone.as_deref().unwrap_or("UTC")),
                locale,
                manager: None,
                chat: user,
                opted_out: false,
            }),
        }
    }
    match all {
        Cow::Borrowed(_) => employees.clone(),
        Cow::Owned(all) => all.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(user: &str, email: &str) -> Person {
        Person {
            user: user.to_owned(),
            name: "Al <!channel>".to_owned(),
            email: Some(email.to_owned()),
            time_zone: Some("Asia/Tokyo".to_owned()),
            locale: None,
        }
    }

    fn employee(id: &str, email: &str, chat: Option<&str>) -> Employee {
        Employee {
            id: id.into(),
            name: id.into(),
            email: Some(email.into()),
            aliases: Box::default(),
            time_zone: "Europe/Berlin".into(),
            locale: None,
            manager: None,
            chat: chat.map(Into::into),
            opted_out: false,
        }
    }

    #[test]
    fn an_employee_of_the_config_gets_the_account_of_the_same_email() {
        let all = merged(
            &[employee("alice", "Alice@example.com", None)].into(),
            &[person("T1/U1", "alice@EXAMPLE.com")],
        );
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].chat.as_deref(), Some("T1/U1"));
        assert_eq!(all[0].time_zone.as_ref(), "Europe/Berlin");
    }

    #[test]
    fn who_is_only_in_the_chat_is_known_by_email_and_by_local_part_of_our_domains() {
        let all = merged(
            &Arc::default(),
            &[
                person("T1/U2", "bob@example.com"),
                person("T1/U3", "eve@partner.net"),
            ],
        );
        let directory = Directory::new(all, "slack", &["example.com".to_owned()]);
        assert_eq!(
            directory.resolve("bob").unwrap().id.as_str(),
            "bob@example.com"
        );
        assert!(directory.resolve("eve").is_none());
        assert!(directory.resolve("eve@partner.net").is_some());
        assert!(directory.resolve("Al <!channel>").is_none());
    }

    #[test]
    fn an_email_on_two_accounts_and_an_account_named_by_somebody_else_give_nobody_a_chat() {
        let twice = [
            person("T1/U1", "alice@example.com"),
            person("T1/U2", "alice@example.com"),
        ];
        let all = merged(
            &[employee("alice", "alice@example.com", None)].into(),
            &twice,
        );
        assert_eq!(all[0].chat, None);
        let configured = Arc::from([
            employee("alice", "alice@example.com", None),
            employee("bob", "bob@example.com", Some("T1/U1")),
        ]);
        let all = merged(&configured, &[person("T1/U1", "alice@example.com")]);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].chat, None);
    }
}
