//! The file as a tree whose every name and value knows where it was written: how a fault's place
//! becomes a key, a key a place, and how a faulty key is taken out so that reading can go on.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

type Node<'i> = Spanned<DeValue<'i>>;
pub type Table<'i> = DeTable<'i>;

/// A value that was written elsewhere, with all its parts, as if written at `span`.
pub fn placed<'i>(value: DeValue<'i>, span: &Range<usize>) -> DeValue<'i> {
    let node = |node: Node<'i>| Spanned::new(span.clone(), placed(node.into_inner(), span));
    match value {
        DeValue::Array(list) => DeValue::Array(list.into_iter().map(node).collect()),
        DeValue::Table(table) => {
            let entries = table
                .into_iter()
                .map(|(name, value)| (Spanned::new(span.clone(), name.into_inner()), node(value)));
            DeValue::Table(entries.collect())
        }
        other => other,
    }
}

/// Sets a key; each step down gets a span of its own, so that a fault names the part that is wrong.
pub fn put<'i>(
    tree: &mut Table<'i>,
    path: &[String],
    value: DeValue<'i>,
    span: Range<usize>,
) -> bool {
    let [first, rest @ ..] = path else {
        return false;
    };
    if first.is_empty() {
        return false;
    }
    let deeper = span.start + 1..span.end + 1;
    if rest.is_empty() {
        tree.remove(first.as_str());
        let key = Spanned::new(span.clone(), Cow::Owned(first.clone()));
        tree.insert(key, Spanned::new(span, value));
        return true;
    }
    if !tree.contains_key(first.as_str()) {
        let empty = match rest[0].parse::<usize>() {
            Ok(_) => DeValue::Array(DeArray::new()),
            Err(_) => DeValue::Table(Table::new()),
        };
        let key = Spanned::new(span.clone(), Cow::Owned(first.clone()));
        tree.insert(key, Spanned::new(span, empty));
    }
    tree.get_mut(first.as_str())
        .is_some_and(|node| put_below(node, rest, value, deeper))
}

fn put_below<'i>(
    node: &mut Node<'i>,
    path: &[String],
    value: DeValue<'i>,
    span: Range<usize>,
) -> bool {
    match node.get_mut() {
        DeValue::Table(table) => put(table, path, value, span),
        DeValue::Array(list) => {
            let [first, rest @ ..] = path else {
                return false;
            };
            let Ok(index) = first.parse::<usize>() else {
                return false;
            };
            if index > list.len() {
                return false;
            }
            let deeper = span.start + 1..span.end + 1;
            if rest.is_empty() {
                let value = Spanned::new(span, value);
                match list.get_mut(index) {
                    Some(slot) => *slot = value,
                    None => list.push(value),
                }
                return true;
            }
            if index == list.len() {
                list.push(Spanned::new(span, DeValue::Table(Table::new())));
            }
            list.get_mut(index)
                .is_some_and(|item| put_below(item, rest, value, deeper))
        }
        _ => false,
    }
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// The key whose name or value is the smallest stretch around `span`, the deepest among equals.
pub fn find(tree: &Table<'_>, span: &Range<usize>) -> String {
    let mut best = (usize::MAX, String::new());
    walk(tree, "", &mut |key, at| {
        if holds(&at, span) && at.len() <= best.0 {
            best = (at.len(), key.to_owned());
        }
    });
    best.1
}

fn walk(tree: &Table<'_>, above: &str, visit: &mut impl FnMut(&str, Range<usize>)) {
    for (name, node) in tree {
        let key = match above {
            "" => name.get_ref().to_string(),
            _ => format!("{above}.{}", name.get_ref()),
        };
        visit(&key, name.span());
        walk_node(node, &key, visit);
    }
}

fn walk_node(node: &Node<'_>, key: &str, visit: &mut impl FnMut(&str, Range<usize>)) {
    visit(key, node.span());
    match node.get_ref() {
        DeValue::Table(table) => walk(table, key, visit),
        DeValue::Array(list) => {
            for (index, item) in list.iter().enumerate() {
                walk_node(item, &format!("{key}[{index}]"), visit);
            }
        }
        _ => {}
    }
}

/// Where `key`, or the nearest table above it that is written down, stands.
pub fn locate(tree: &Table<'_>, key: &str) -> Option<usize> {
    let mut best: Option<(usize, usize)> = None;
    walk(tree, "", &mut |name, at| {
        let above = key
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        if above && best.is_none_or(|(length, _)| length < name.len()) {
            best = Some((name.len(), at.start));
        }
    });
    best.map(|(_, start)| start)
}

/// Takes the key at `span` out of the tree; `false` when there is none.
pub fn remove(tree: &mut Table<'_>, span: &Range<usize>) -> bool {
    let target = find(tree, span);
    !target.is_empty() && remove_key(tree, "", &target)
}

fn remove_key(tree: &mut Table<'_>, above: &str, target: &str) -> bool {
    let mut found = None;
    for (name, node) in tree.iter_mut() {
        let key = match above {
            "" => name.get_ref().to_string(),
            _ => format!("{above}.{}", name.get_ref()),
        };
        if key == target {
            found = Some(name.get_ref().to_string());
            break;
        }
        if target.starts_with(&key) && remove_below(node, &key, target) {
            return true;
        }
    }
    found.is_some_and(|name| tree.remove(name.as_str()).is_some())
}

fn remove_below(node: &mut Node<'_>, above: &str, target: &str) -> bool {
    match node.get_mut() {
        DeValue::Table(table) => remove_key(table, above, target),
        DeValue::Array(list) => {
            for index in 0..list.len() {
                let key = format!("{above}[{index}]");
                if key == target {
                    let kept = std::mem::replace(list, DeArray::new())
                        .into_iter()
                        .enumerate();
                    *list = kept
                        .filter(|(nth, _)| *nth != index)
                        .map(|(_, item)| item)
                        .collect();
                    return true;
                }
                if target.starts_with(&key)
                    && let Some(item) = list.get_mut(index)
                    && remove_below(item, &key, target)
                {
                    return true;
                }
            }
            false
        }
        _ => false,
    }
}
