//! The configuration: `config.toml` as types, with errors that name file, line, key and what was
//! expected. A mistake here is found before the first alert, not by the first unanswered one.
//!
//! [`raw`] is the file as written, [`check`] looks at what one key cannot know alone, [`build`] fills
//! in defaults and fetches secrets. An empty file is a valid configuration.

mod build;
mod check;
mod document;
mod error;
mod raw;
mod secret;
mod text;
mod tree;
mod types;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::core::employee::Directory;
use crate::core::ids::PagerName;
use crate::core::policy::{Policy, Pushes, SharedPolicies};
use crate::core::world::World;

pub use document::OVERRIDE_PREFIX;
pub use error::{ConfigError, ConfigErrors};
pub use types::*;

use document::Document;
use raw::RawConfig;
use secret::Environment;

impl Config {
    /// Reads and checks a file. `env` is the process environment: overrides
    /// (`SECURITYBOT__SERVER__LISTEN`) and the secrets that the file names.
    pub fn load(
        path: &Path,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            ConfigErrors::new(vec![ConfigError {
                place: path.display().to_string(),
                line: None,
                key: String::new(),
                message: format!("cannot be read: {e}; name the file with --config"),
            }])
        })?;
        Self::parse(path, text, env)
    }

    /// The same from text; `path` is what errors call it.
    pub fn parse(
        path: &Path,
        text: String,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let env: Environment = env.collect();
        let mut document =
            Document::parse(&path.display().to_string(), &text, &env).map_err(ConfigErrors::new)?;
        let mut raw: RawConfig = document.read().map_err(ConfigErrors::new)?;
        let mut problems = Problems {
            document: &document,
            found: Vec::new(),
        };
        check::check(&raw, &mut problems);
        let config = build::build(path, &mut raw, &env, &mut problems);
        if problems.found.is_empty() {
            Ok(config)
        } else {
            Err(ConfigErrors::new(problems.found))
        }
    }

    /// What the rules live by. `pager_refresh` is what each pager says of itself.
    pub fn world(
        &self,
        directory: Directory,
        pager_refresh: BTreeMap<PagerName, Duration>,
    ) -> World {
        let ladders = self.ladders.iter().map(|l| (l.name.clone(), l.clone()));
        World {
            policy: Policy {
                severities: self.severities.clone(),
                rules: self.rules.clone(),
                ladders: ladders.collect(),
                working_hours: self.working_hours.clone(),
                pager_refresh,
                dedup: self.retention.dedup,
                public_url: self.server.public_url.clone(),
                pushes: self.factors.duo.as_ref().map(|duo| Pushes {
                    users: duo.users.clone(),
                }),
                shared: SharedPolicies::default(),
            },
            directory,
            partitions: self.store.partitions,
        }
    }
}

/// Collects faults while the rest is still looked at.
struct Problems<'a> {
    document: &'a Document<'a>,
    found: Vec<ConfigError>,
}

impl Problems<'_> {
    fn add(&mut self, key: impl AsRef<str>, message: impl Into<String>) {
        self.found.push(self.document.fault(key.as_ref(), message));
    }
}
