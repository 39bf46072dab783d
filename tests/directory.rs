//! The directory's compact lists find exactly whom plain maps would find, whatever the names are; and the chat's people
//! join it without a copy where they add nothing.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use securitybot::app::directory::merged;
use securitybot::core::employee::{Directory, Employee};
use securitybot::core::ids::{ChatIdentity, EmployeeId};
use securitybot::plugins::chat::Person;

/// The rules in their plainest form: a map for each way to find somebody.
#[derive(Default)]
struct Plain {
    employees: BTreeMap<EmployeeId, Employee>,
    principals: BTreeMap<String, Vec<EmployeeId>>,
    by_chat: BTreeMap<ChatIdentity, EmployeeId>,
    identities: BTreeMap<EmployeeId, ChatIdentity>,
}

impl Plain {
    fn new(employees: &[Employee], chat: &str, domains: &[String]) -> Self {
        let mut plain = Self::default();
        for employee in employees {
            let id = &employee.id;
            let mut names = vec![id.as_str()];
            names.extend(employee.aliases.iter().map(AsRef::as_ref));
            if let Some(email) = employee.email.as_deref() {
                names.push(email);
                if let Some((local, domain)) = email.split_once('@')
                    && domains.iter().any(|d| d.eq_ignore_ascii_case(domain))
                {
                    names.push(local);
                }
            }
            for name in names {
                let owners = plain
                    .principals
                    .entry(name.to_ascii_lowercase())
                    .or_default();
                if !owners.contains(id) {
                    owners.push(id.clone());
                }
            }
            let identity = identity(chat, employee.chat.as_deref().unwrap_or(id.as_str()));
            plain.by_chat.insert(identity.clone(), id.clone());
            plain.identities.insert(id.clone(), identity);
            plain.employees.insert(id.clone(), employee.clone());
        }
        plain
    }

    fn resolve(&self, principal: &str) -> Option<&Employee> {
        let owners = self
            .principals
            .get(&principal.trim().to_ascii_lowercase())?;
        match owners.as_slice() {
            [only] => self.employees.get(only),
            _ => None,
        }
    }
}

fn identity(chat: &str, user: &str) -> ChatIdentity {
    ChatIdentity {
        chat: chat.to_owned(),
        user: user.to_owned(),
    }
}

fn person(user: &str, email: &str) -> Person {
    Person {
        user: user.to_owned(),
        name: "P".to_owned(),
        email: Some(email.to_owned()),
        time_zone: None,
        locale: None,
    }
}

/// Few letters in both cases, so that names meet; odd ones, too.
fn name() -> impl Strategy<Value = String> {
    "[abAB]{1,2}|[a-cA-C]?@[aA]\\.de|[abAB]@[bB]\\.de@?| ?[éÉ]?[aA]? ?"
}

fn employee() -> impl Strategy<Value = Employee> {
    let chat = prop::option::of("[uUaAbB]");
    (
        name(),
        prop::option::of(name()),
        vec(name(), 0..3),
        chat,
        any::<u8>(),
    )
        .prop_map(|(id, email, aliases, chat, nth)| Employee {
            id: EmployeeId::new(id),
            name: format!("N {nth}").into(),
            email: email.map(Into::into),
            aliases: aliases.into_iter().map(Into::into).collect(),
            time_zone: "UTC".into(),
            locale: None,
            manager: None,
            chat: chat.map(Into::into),
            opted_out: false,
        })
}

proptest! {
    #[test]
    fn everybody_is_found_as_by_plain_maps(
        employees in vec(employee(), 0..12),
        domains in prop_oneof![Just(vec![]), Just(vec!["A.de".to_owned()]), Just(vec!["b.de".to_owned(), String::new()])],
        wanted in vec(name(), 1..40),
    ) {
        let plain = Plain::new(&employees, "web", &domains);
        let directory = Directory::new(employees.clone(), "web", &domains);
        let written = employees.iter().flat_map(|employee| {
            let names = [Some(employee.id.as_str()), employee.email.as_deref(), employee.chat.as_deref()];
            names.into_iter().flatten().chain(employee.aliases.iter().map(AsRef::as_ref)).map(str::to_owned)
        });
        let local = written.clone().filter_map(|name| Some(name.split_once('@')?.0.to_owned()));
        for name in written.clone().chain(local).chain(wanted) {
            for name in [name.clone(), name.to_ascii_uppercase(), format!(" {name}\n")] {
                prop_assert_eq!(directory.resolve(&name), plain.resolve(&name), "principal {:?}", &name);
                let id = EmployeeId::new(name.as_str());
                prop_assert_eq!(directory.get(&id), plain.employees.get(&id));
                prop_assert_eq!(directory.identity_of(&id), plain.identities.get(&id).cloned());
                for chat in ["web", "slack"] {
                    let who = identity(chat, &name);
                    let expected = plain.by_chat.get(&who).and_then(|id| plain.employees.get(id));
                    prop_assert_eq!(directory.by_chat(&who), expected, "{:?}", &who);
                }
            }
        }
        prop_assert!(directory.iter().eq(plain.employees.values()));
        let several: Vec<_> = plain.principals.iter().filter(|(_, owners)| owners.len() > 1).collect();
        let ambiguous: Vec<_> = directory.ambiguous().collect();
        prop_assert_eq!(ambiguous.len(), several.len());
        for ((name, owners), (expected, expected_owners)) in ambiguous.iter().zip(several) {
            prop_assert_eq!(name, expected);
            prop_assert!(owners.iter().copied().eq(expected_owners));
        }
    }
}

#[test]
fn a_chat_that_adds_nothing_shares_the_employees_and_another_leaves_them_as_they_are() {
    let alice = Employee {
        id: EmployeeId::new("alice"),
        name: "Alice".into(),
        email: Some("Alice@example.com".into()),
        aliases: ["al@example.com".into()].into(),
        time_zone: "UTC".into(),
        locale: None,
        manager: None,
        chat: Some("T1/U1".into()),
        opted_out: false,
    };
    let employees: Arc<[Employee]> = [alice].into();
    let known = person("T1/U1", "alice@example.com");
    for people in [vec![], vec![known], vec![person("T1/U2", "no e-mail")]] {
        assert!(Arc::ptr_eq(&merged(&employees, &people), &employees));
    }
    assert!(Arc::ptr_eq(
        &merged(&employees, &[person("T1/U3", "AL@example.com")]),
        &employees
    ));
    let joined = merged(&employees, &[person("T1/U2", "bob@example.com")]);
    assert_eq!((joined.len(), employees.len()), (2, 1));
}
