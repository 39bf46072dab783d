//! Employees and operators: one name, one person. An alert that finds two people finds nobody.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Problems;
use crate::config::raw::{RawConfig, RawEmployee};

/// The second owner of a name is the fault.
pub fn employees(raw: &RawConfig, problems: &mut Problems<'_>) {
    let mut principals: BTreeMap<String, usize> = BTreeMap::new();
    let mut chats: BTreeMap<&str, usize> = BTreeMap::new();
    let ids: BTreeSet<&str> = raw.employees.iter().map(|e| e.id.0.0.as_str()).collect();
    for (nth, employee) in raw.employees.iter().enumerate() {
        for (key, name) in principal_names(employee, &raw.directory.domains) {
            let path = format!("employees[{nth}].{key}");
            if name.trim() != name || name.is_empty() {
                problems.add(
                    &path,
                    format!("expected a name without spaces around it, got {name:?}"),
                );
            }
            match principals.insert(name.to_ascii_lowercase(), nth) {
                Some(other) if other != nth => {
                    let owner = &raw.employees[other].id.0.0;
                    let message = format!(
                        "{name:?} already names employee {owner}, expected a name of one person only"
                    );
                    problems.add(&path, message);
                    principals.insert(name.to_ascii_lowercase(), other);
                }
                _ => {}
            }
        }
        if let Some(email) = &employee.email
            && !email
                .split_once('@')
                .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        {
            let message =
                format!(r#"expected an e-mail such as "alice@example.com", got {email:?}"#);
            problems.add(format!("employees[{nth}].email"), message);
        }
        let chat = employee.chat.as_deref().unwrap_or(&employee.id.0.0);
        if let Some(other) = chats.insert(chat, nth) {
            let owner = &raw.employees[other].id.0.0;
            let message = format!("{chat:?} is already the chat id of employee {owner}");
            let key = if employee.chat.is_some() {
                "chat"
            } else {
                "id"
            };
            problems.add(format!("employees[{nth}].{key}"), message);
        }
        if let Some(manager) = &employee.manager
            && !ids.contains(manager.as_str())
        {
            let message = format!("no employee has the id {manager:?}");
            problems.add(format!("employees[{nth}].manager"), message);
        }
    }
}

fn principal_names(employee: &RawEmployee, domains: &[String]) -> Vec<(&'static str, String)> {
    let mut names = vec![("id", employee.id.0.0.clone())];
    names.extend(
        employee
            .aliases
            .iter()
            .map(|alias| ("aliases", alias.clone())),
    );
    if let Some(email) = &employee.email {
        names.push(("email", email.clone()));
        if let Some((local, domain)) = email.split_once('@')
            && domains.iter().any(|d| d.eq_ignore_ascii_case(domain))
        {
            names.push(("email", local.to_owned()));
        }
    }
    names
}

pub fn operators(raw: &RawConfig, problems: &mut Problems<'_>) {
    for (nth, operator) in raw.operators.iter().enumerate() {
        if operator.name.0.0 == "admin" {
            let message = "admin is the operator of data_dir/token, expected another name";
            problems.add(format!("operators[{nth}].name"), message);
        }
        if operator.roles.is_empty() {
            let message = "expected at least one of viewer, responder, admin";
            problems.add(format!("operators[{nth}].roles"), message);
        }
    }
}
