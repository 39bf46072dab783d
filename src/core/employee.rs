//! The people behind principals, and the exact rules by which a principal finds one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{ChatIdentity, EmployeeId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Employee {
    pub id: EmployeeId,
    pub name: String,
    pub email: Option<String>,
    pub aliases: Vec<String>,
    /// IANA zone name, validated when the config is read.
    pub time_zone: String,
    pub locale: Option<String>,
    pub manager: Option<EmployeeId>,
    /// The platform's user id; the web chat uses the employee id.
    pub chat: Option<String>,
    /// Never asked, always paged. An operator's act.
    pub opted_out: bool,
}

/// Everybody, in memory. Principals match by id, alias or e-mail, ASCII case-folded, exactly.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    employees: BTreeMap<EmployeeId, Employee>,
    /// Case-folded principal to everyone it names; more than one makes it unknown.
    principals: BTreeMap<String, Vec<EmployeeId>>,
    by_chat: BTreeMap<ChatIdentity, EmployeeId>,
    identities: BTreeMap<EmployeeId, ChatIdentity>,
}

impl Directory {
    /// `chat` is the name of the configured chat; without a platform id an employee's id stands.
    /// E-mails of a domain in `domains` also match by their local part.
    pub fn new(employees: Vec<Employee>, chat: &str, domains: &[String]) -> Self {
        let mut directory = Self::default();
        for employee in employees {
            let id = employee.id.clone();
            let mut names = vec![id.as_str().to_ascii_lowercase()];
            names.extend(
                employee
                    .aliases
                    .iter()
                    .map(|alias| alias.to_ascii_lowercase()),
            );
            if let Some(email) = &employee.email {
                let email = email.to_ascii_lowercase();
                if let Some((local, domain)) = email.split_once('@')
                    && domains.iter().any(|d| d.eq_ignore_ascii_case(domain))
                {
                    names.push(local.to_owned());
                }
                names.push(email);
            }
            for name in names {
                let owners = directory.principals.entry(name).or_default();
                if !owners.contains(&id) {
                    owners.push(id.clone());
                }
            }
            let user = employee
                .chat
                .clone()
                .unwrap_or_else(|| id.as_str().to_owned());
            let identity = ChatIdentity {
                chat: chat.to_owned(),
                user,
            };
            directory.by_chat.insert(identity.clone(), id.clone());
            directory.identities.insert(id.clone(), identity);
            directory.employees.insert(id, employee);
        }
        directory
    }

    /// `None` when nobody or more than one person goes by that name.
    pub fn resolve(&self, principal: &str) -> Option<&Employee> {
        match self
            .principals
            .get(&principal.trim().to_ascii_lowercase())?
            .as_slice()
        {
            [only] => self.employees.get(only),
            _ => None,
        }
    }

    pub fn get(&self, id: &EmployeeId) -> Option<&Employee> {
        self.employees.get(id)
    }

    pub fn by_chat(&self, identity: &ChatIdentity) -> Option<&Employee> {
        self.employees.get(self.by_chat.get(identity)?)
    }

    pub fn identity_of(&self, id: &EmployeeId) -> Option<&ChatIdentity> {
        self.identities.get(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Employee> {
        self.employees.values()
    }

    /// Principals that name more than one person, for the check at start.
    pub fn ambiguous(&self) -> impl Iterator<Item = (&str, &[EmployeeId])> {
        self.principals
            .iter()
            .filter(|(_, owners)| owners.len() > 1)
            .map(|(name, owners)| (name.as_str(), owners.as_slice()))
    }
}
