//! The context of an alert as one key: what folding compares and a snooze covers. Two alerts whose
//! rule and context words agree share it; a word that is absent counts as a value, so that an alert
//! without a source address is never taken for one from a known address.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use litemap::LiteMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ids::RuleName;
use super::text::Untrusted;

/// What an alert is about, by name: host, source address, command. There are few, so a sorted list holds them in a tenth
/// of a tree's memory; shared, because an alert's are its case's and its records' too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Words(Arc<LiteMap<String, Untrusted>>);

impl Deref for Words {
    type Target = LiteMap<String, Untrusted>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl From<LiteMap<String, Untrusted>> for Words {
    fn from(words: LiteMap<String, Untrusted>) -> Self {
        Self(Arc::new(words))
    }
}

impl FromIterator<(String, Untrusted)> for Words {
    fn from_iter<T: IntoIterator<Item = (String, Untrusted)>>(words: T) -> Self {
        LiteMap::from_iter(words).into()
    }
}

/// Hex SHA-256 over the rule and the canonical JSON of its context words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContextKey(String);

impl ContextKey {
    /// `keys` are the words of the rule; their order and repetition do not matter.
    pub fn new(rule: &RuleName, keys: &[String], context: &Words) -> Self {
        let words: BTreeMap<&str, Option<&str>> = keys
            .iter()
            .map(|key| (key.as_str(), context.get(key).map(Untrusted::raw)))
            .collect();
        let canonical = serde_json::to_string(&(rule.as_str(), words))
            .expect("strings with string keys are JSON");
        Self(hex::encode(Sha256::digest(canonical.as_bytes())))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContextKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The words of the key that the alert has. Empty: the rule must not snooze here, for the snooze
/// would cover everything the rule ever finds.
pub fn present(keys: &[String], context: &Words) -> Words {
    keys.iter()
        .filter_map(|key| Some((key.clone(), context.get(key)?.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(rule: &str, keys: &[&str], words: &[(&str, &str)]) -> ContextKey {
        let keys: Vec<String> = keys.iter().map(|k| (*k).to_owned()).collect();
        let context = words
            .iter()
            .map(|(k, v)| ((*k).to_owned(), Untrusted::from(*v)))
            .collect();
        ContextKey::new(&RuleName::from(rule), &keys, &context)
    }

    #[test]
    fn only_rule_and_key_words_make_the_key() {
        let web3 = key("sudo", &["host", "ip"], &[("host", "web-3"), ("cmd", "a")]);
        assert_eq!(
            web3,
            key("sudo", &["ip", "host"], &[("host", "web-3"), ("cmd", "b")])
        );
        assert_ne!(web3, key("su", &["host", "ip"], &[("host", "web-3")]));
        assert_ne!(web3, key("sudo", &["host", "ip"], &[("host", "web-4")]));
    }

    #[test]
    fn a_missing_word_is_a_value_of_its_own() {
        let without = key("sudo", &["host", "ip"], &[("host", "web-3")]);
        let with = key("sudo", &["host", "ip"], &[("host", "web-3"), ("ip", "")]);
        assert_ne!(without, with);
    }
}
