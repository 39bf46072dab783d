//! Changed rows as `commit.lua` takes them. What finds a new row is worked out here, as lists for a few calls; of a row
//! that replaces another only the script knows what found that one (`index.lua`).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use redis::Cmd;

use super::batch::{Calls, Values, number, text};
use super::format;
use crate::core::machine::{Collection, Row, RowChange};

/// A row's last change in a batch.
struct Last<'a> {
    change: &'a RowChange,
    /// None was stored before the batch.
    new: bool,
}

pub(super) fn send<'a>(cmd: &mut Cmd, changes: impl Iterator<Item = &'a RowChange>) {
    let mut last: HashMap<(Collection, &str), Last<'_>> = HashMap::new();
    let mut order = Vec::new();
    for change in changes {
        let target = change.target();
        match last.get_mut(&target) {
            Some(last) => last.change = change,
            None => {
                let new = matches!(change, RowChange::New(_));
                last.insert(target, Last { change, new });
                order.push(target);
            }
        }
    }
    let mut new = NewRows::default();
    let mut others: BTreeMap<Collection, Vec<(&str, Option<&Row>)>> = BTreeMap::new();
    for target in order {
        let Some(last) = last.get(&target) else {
            continue;
        };
        match (last.change.row(), last.new) {
            (Some(row), true) => new.add(row),
            (None, true) => {}
            (row, false) => others.entry(target.0).or_default().push((target.1, row)),
        }
    }
    new.send(cmd);
    cmd.arg(others.len());
    for (collection, rows) in others {
        cmd.arg(collection.name()).arg(rows.len());
        for (id, _) in &rows {
            cmd.arg(*id);
        }
        for (_, row) in rows {
            match row {
                Some(row) => cmd.arg(format::row(row)),
                None => cmd.arg(""),
            };
        }
    }
}

/// Rows that replace none.
#[derive(Default)]
struct NewRows<'a> {
    times: BTreeMap<Collection, Values<'a>>,
    expiries: Values<'a>,
    /// By the key of a sorted set of its own.
    direct: BTreeMap<String, Values<'a>>,
    /// References by entry.
    small: BTreeMap<Collection, BTreeMap<String, String>>,
    values: BTreeMap<Collection, Values<'a>>,
}

impl<'a> NewRows<'a> {
    fn add(&mut self, row: &'a Row) {
        let (collection, name, at) = (row.collection, row.collection.name(), row.at.as_millis());
        let id = row.id.as_str();
        let times = self.times.entry(collection).or_default();
        times.extend([number(at), text(id)]);
        if let Some(expires) = row.expires {
            let member = format!("{name}\0{id}").into_bytes();
            self.expiries
                .extend([number(expires.as_millis()), Cow::Owned(member)]);
        }
        for (n, (field, value)) in row.fields.iter().enumerate() {
            if row.fields[..n].contains(&row.fields[n]) {
                continue;
            }
            let entry = format::entry(field, value);
            if format::is_direct(&entry) {
                let set = self.direct.entry(format!("i:{name}:{entry}")).or_default();
                set.extend([number(at), text(id)]);
            } else {
                let small = self.small.entry(collection).or_default();
                let references = small.entry(entry).or_default();
                format::refer(at, id, references);
            }
        }
        let values = self.values.entry(collection).or_default();
        values.extend([text(id), Cow::Owned(format::row(row))]);
    }

    fn send(self, cmd: &mut Cmd) {
        let mut calls = Calls::default();
        for (collection, times) in self.times {
            calls.add("ZADD", format!("ra:{}", collection.name()), times);
        }
        calls.add("ZADD", "rx", self.expiries);
        for (key, entries) in self.direct {
            calls.add("ZADD", key, entries);
        }
        calls.send(cmd);
        cmd.arg(self.small.len());
        for (collection, entries) in self.small {
            cmd.arg(collection.name()).arg(entries.len());
            for entry in entries.keys() {
                cmd.arg(entry);
            }
            for references in entries.values() {
                cmd.arg(references);
            }
        }
        let mut calls = Calls::default();
        for (collection, values) in self.values {
            calls.add("HSET", format!("r:{}", collection.name()), values);
        }
        calls.send(cmd);
    }
}
