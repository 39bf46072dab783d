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

pub(super) fn send<'a>(cmd: &mut Cmd, changes: impl IntoIterator<Item = &'a RowChange>) {
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
    /// By entry, those that are sorted sets of their own; there are few.
    direct: Vec<(Collection, String, Values<'a>)>,
    /// References by entry.
    small: BTreeMap<Collection, BTreeMap<String, String>>,
    values: BTreeMap<Collection, Values<'a>>,
}

impl<'a> NewRows<'a> {
    fn add(&mut self, row: &'a Row) {
        let (collection, id) = (row.collection, row.id.as_str());
        let at = row.at.as_millis().to_string();
        let times = self.times.entry(collection).or_default();
        times.extend([number(&at), text(id)]);
        if let Some(expires) = row.expires {
            let member = format!("{}\0{id}", collection.name()).into_bytes();
            self.expiries
                .extend([number(expires.as_millis()), Cow::Owned(member)]);
        }
        let entries = format::entries(row);
        let value = format::row_of(row, &entries);
        let values = self.values.entry(collection).or_default();
        values.extend([text(id), Cow::Owned(value)]);
        for (n, (entry, field)) in entries.into_iter().zip(&row.fields).enumerate() {
            if row.fields[..n].contains(field) {
                continue;
            }
            if format::is_direct(&entry) {
                self.direct(collection, entry)
                    .extend([number(&at), text(id)]);
            } else {
                let small = self.small.entry(collection).or_default();
                format::refer(&at, id, small.entry(entry).or_default());
            }
        }
    }

    fn direct(&mut self, collection: Collection, entry: String) -> &mut Values<'a> {
        let known = self
            .direct
            .iter()
            .position(|(of, known, _)| *of == collection && *known == entry);
        let place = known.unwrap_or_else(|| {
            self.direct.push((collection, entry, Values::new()));
            self.direct.len() - 1
        });
        &mut self.direct[place].2
    }

    fn send(self, cmd: &mut Cmd) {
        let mut calls = Calls::default();
        for (collection, times) in self.times {
            calls.add("ZADD", format!("ra:{}", collection.name()), times);
        }
        calls.add("ZADD", "rx", self.expiries);
        for (collection, entry, rows) in self.direct {
            calls.add("ZADD", format!("i:{}:{entry}", collection.name()), rows);
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
