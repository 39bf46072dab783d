//! The people behind principals, and the exact rules by which a principal finds one.
//!
//! A directory may hold a million people: they are kept once, shared by whoever needs them, and found by binary
//! search in lists of positions that are sorted by one of their names.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{ChatIdentity, EmployeeId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Employee {
    pub id: EmployeeId,
    pub name: Box<str>,
    pub email: Option<Box<str>>,
    pub aliases: Box<[Box<str>]>,
    /// IANA zone name, validated when the config is read. One copy for everybody who lives there ([`Shared`]).
    pub time_zone: Arc<str>,
    pub locale: Option<Arc<str>>,
    pub manager: Option<EmployeeId>,
    /// The platform's user id; the web chat uses the employee id.
    pub chat: Option<Box<str>>,
    /// Never asked, always paged. An operator's act.
    pub opted_out: bool,
}

impl Employee {
    /// The platform's user id, or the employee's own where none is given.
    fn user(&self) -> &str {
        self.chat.as_deref().unwrap_or(self.id.as_str())
    }
}

/// Gives equal words one allocation: there are far fewer zones and locales than people.
#[derive(Default)]
pub struct Shared(BTreeSet<Arc<str>>);

impl Shared {
    pub fn word(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.0.get(word) {
            return known.clone();
        }
        let new: Arc<str> = word.into();
        self.0.insert(new.clone());
        new
    }
}

/// Everybody, in memory. Principals match by id, alias or e-mail, ASCII case-folded, exactly. A clone shares it all.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    employees: Arc<[Employee]>,
    /// The `chat` part of everybody's identity.
    chat: Arc<str>,
    /// Sorted by id; of those with the same id only the last.
    by_id: Arc<[Position]>,
    /// Sorted by the platform's user id; of those with the same only the last.
    by_user: Arc<[Position]>,
    /// Sorted by case-folded name, then by position.
    by_principal: Arc<[Principal]>,
}

/// A place in [`Directory::employees`].
type Position = u32;

#[derive(Clone, Copy, Debug)]
struct Principal {
    owner: Position,
    name: Name,
}

/// Which of its owner's names.
#[derive(Clone, Copy, Debug)]
enum Name {
    Id,
    Alias(u32),
    Email,
    /// Of the e-mail, before the `@`.
    LocalPart,
}

impl Directory {
    /// `chat` is the name of the configured chat; without a platform id an employee's id stands.
    /// E-mails of a domain in `domains` also match by their local part. Of several employees with one id the last
    /// stands, under the names of all.
    pub fn new(employees: impl Into<Arc<[Employee]>>, chat: &str, domains: &[String]) -> Self {
        let employees = employees.into();
        let by_id = sorted(&employees, |employee| employee.id.as_str());
        let by_user = sorted(&employees, Employee::user);
        let mut by_principal = Vec::with_capacity(employees.len());
        for (owner, employee) in (0..).zip(employees.iter()) {
            let mut add = |name| by_principal.push(Principal { owner, name });
            add(Name::Id);
            (0..)
                .zip(&employee.aliases)
                .for_each(|(nth, _)| add(Name::Alias(nth)));
            if let Some(email) = &employee.email {
                add(Name::Email);
                if let Some((_, domain)) = email.split_once('@')
                    && domains.iter().any(|d| d.eq_ignore_ascii_case(domain))
                {
                    add(Name::LocalPart);
                }
            }
        }
        let text = |principal: &Principal| name_of(&employees, *principal);
        by_principal.sort_unstable_by(|a, b| {
            folded_order(text(a), text(b)).then_with(|| a.owner.cmp(&b.owner))
        });
        by_principal.dedup_by(|a, b| a.owner == b.owner && text(a).eq_ignore_ascii_case(text(b)));
        Self {
            chat: chat.into(),
            by_id,
            by_user,
            by_principal: by_principal.into(),
            employees,
        }
    }

    /// `None` when nobody or more than one person goes by that name.
    pub fn resolve(&self, principal: &str) -> Option<&Employee> {
        let wanted = principal.trim();
        let first = self
            .by_principal
            .partition_point(|entry| folded_order(self.name(entry), wanted).is_lt());
        let mut owners = self.by_principal[first..]
            .iter()
            .take_while(|entry| self.name(entry).eq_ignore_ascii_case(wanted))
            .map(|entry| self.owner(entry));
        let only = owners.next()?;
        match owners.all(|other| other == only) {
            true => self.get(only),
            false => None,
        }
    }

    pub fn get(&self, id: &EmployeeId) -> Option<&Employee> {
        self.find(&self.by_id, |employee| employee.id.as_str(), id.as_str())
    }

    pub fn by_chat(&self, identity: &ChatIdentity) -> Option<&Employee> {
        if identity.chat != *self.chat {
            return None;
        }
        let named = self.find(&self.by_user, Employee::user, &identity.user)?;
        // Unless ids are given twice, nobody stands for anybody else.
        match self.by_id.len() == self.employees.len() {
            true => Some(named),
            false => self.get(&named.id),
        }
    }

    pub fn identity_of(&self, id: &EmployeeId) -> Option<ChatIdentity> {
        Some(self.identity(self.get(id)?))
    }

    /// Where one of its employees is asked.
    pub fn identity(&self, employee: &Employee) -> ChatIdentity {
        ChatIdentity {
            chat: self.chat.to_string(),
            user: employee.user().to_owned(),
        }
    }

    /// By id.
    pub fn iter(&self) -> impl Iterator<Item = &Employee> {
        self.by_id
            .iter()
            .map(|at| at_position(&self.employees, *at))
    }

    /// Principals that name more than one person, for the check at start: case-folded, in order, each with its owners
    /// in the order in which they were given.
    pub fn ambiguous(&self) -> impl Iterator<Item = (String, Vec<&EmployeeId>)> {
        self.by_principal
            .chunk_by(|a, b| self.name(a).eq_ignore_ascii_case(self.name(b)))
            .filter_map(|entries| {
                let mut owners = Vec::new();
                for owner in entries.iter().map(|entry| self.owner(entry)) {
                    if !owners.contains(&owner) {
                        owners.push(owner);
                    }
                }
                let name = self.name(&entries[0]).to_ascii_lowercase();
                (owners.len() > 1).then_some((name, owners))
            })
    }

    fn find(
        &self,
        sorted: &[Position],
        key: impl Fn(&Employee) -> &str,
        wanted: &str,
    ) -> Option<&Employee> {
        let employee = |at: &Position| at_position(&self.employees, *at);
        let found = sorted.binary_search_by(|at| key(employee(at)).cmp(wanted));
        Some(employee(&sorted[found.ok()?]))
    }

    fn name(&self, principal: &Principal) -> &str {
        name_of(&self.employees, *principal)
    }

    fn owner(&self, principal: &Principal) -> &EmployeeId {
        &at_position(&self.employees, principal.owner).id
    }
}

fn at_position(employees: &[Employee], position: Position) -> &Employee {
    &employees[usize::try_from(position).expect("an address holds 32 bits")]
}

/// All positions in the order of `key`, of equal keys only the last.
fn sorted(employees: &[Employee], key: impl Fn(&Employee) -> &str) -> Arc<[Position]> {
    let count = Position::try_from(employees.len()).expect("fewer than four billion employees");
    let key = |at: &Position| key(at_position(employees, *at));
    let mut positions: Vec<_> = (0..count).collect();
    positions.sort_unstable_by(|a, b| key(a).cmp(key(b)).then(a.cmp(b)));
    positions.dedup_by(|later, kept| {
        let same = key(later) == key(kept);
        if same {
            *kept = *later;
        }
        same
    });
    positions.into()
}

/// A name as it is written.
fn name_of(employees: &[Employee], principal: Principal) -> &str {
    let owner = at_position(employees, principal.owner);
    let email = owner.email.as_deref().unwrap_or_default();
    match principal.name {
        Name::Id => owner.id.as_str(),
        Name::Alias(nth) => &owner.aliases[usize::try_from(nth).expect("an address holds 32 bits")],
        Name::Email => email,
        Name::LocalPart => email.split_once('@').map_or(email, |(local, _)| local),
    }
}

/// As the names sort when they are in lower case.
fn folded_order(a: &str, b: &str) -> Ordering {
    fn folded(text: &str) -> impl Iterator<Item = u8> {
        text.bytes().map(|byte| byte.to_ascii_lowercase())
    }
    folded(a).cmp(folded(b))
}
