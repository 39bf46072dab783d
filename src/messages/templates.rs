//! The texts, as templates that operators can replace. Each is rendered with every sample when it is loaded, so a
//! misspelt variable is an error at start and never a question that cannot be asked.

use std::collections::BTreeSet;
use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value};

use super::{Zone, samples};

/// The template of each [`Content::name`](crate::core::conversation::Content::name).
const EMBEDDED: [(&str, &str); 20] = [
    ("greeting", include_str!("templates/greeting.txt")),
    ("question", include_str!("templates/question.txt")),
    ("proof_form", include_str!("templates/proof_form.txt")),
    ("ended", include_str!("templates/ended.txt")),
    ("reminder", include_str!("templates/reminder.txt")),
    ("clarification", include_str!("templates/clarification.txt")),
    ("ask_why", include_str!("templates/ask_why.txt")),
    ("ask_who", include_str!("templates/ask_who.txt")),
    ("ask_proof", include_str!("templates/ask_proof.txt")),
    ("code_refused", include_str!("templates/code_refused.txt")),
    (
        "already_answered",
        include_str!("templates/already_answered.txt"),
    ),
    ("told", include_str!("templates/told.txt")),
    ("help", include_str!("templates/help.txt")),
    ("status", include_str!("templates/status.txt")),
    ("report_which", include_str!("templates/report_which.txt")),
    ("report_taken", include_str!("templates/report_taken.txt")),
    ("snooze", include_str!("templates/snooze.txt")),
    ("practice", include_str!("templates/practice.txt")),
    (
        "factor_enrolled",
        include_str!("templates/factor_enrolled.txt"),
    ),
    ("unlocked", include_str!("templates/unlocked.txt")),
];

/// The blocks that a template has; each must be there, so that a misspelt one is noticed.
const SECTIONS: [&str; 5] = ["heading", "text", "next", "note", "notification"];

/// Extended by what renders sections alone: of the page itself nothing comes out, and no block is rendered before it is
/// asked for.
const NO_PAGE: &str = "no page";

/// Loaded and validated templates.
#[derive(Debug)]
pub struct Messages {
    environment: Environment<'static>,
}

/// The rendered text of one template. Untrusted values in it are single clean lines already.
#[derive(Debug, Default)]
pub(super) struct Sections {
    pub(super) heading: String,
    pub(super) text: String,
    pub(super) next: String,
    pub(super) note: String,
    pub(super) notification: String,
}

impl Messages {
    /// The embedded templates.
    pub fn embedded() -> Self {
        let mut environment = environment();
        for (name, source) in EMBEDDED {
            // A broken embedded template is a broken build; a test loads them all.
            if let Err(error) = add(&mut environment, name, source) {
                tracing::error!(template = name, %error, "an embedded template is broken");
            }
        }
        Self { environment }
    }

    /// The embedded templates, each replaced by `{dir}/{name}.txt` where that exists. The error
    /// names file, line and what is wrong.
    pub fn load(dir: Option<&Path>) -> Result<Self, String> {
        let mut messages = Self::embedded();
        if let Some(dir) = dir {
            for name in overrides(dir)? {
                let file = dir.join(format!("{name}.txt"));
                let source = std::fs::read_to_string(&file)
                    .map_err(|error| format!("template {}: {error}", file.display()))?;
                add(&mut messages.environment, &name, &source)
                    .map_err(|error| describe(&file.display().to_string(), &error))?;
            }
        }
        for (name, _) in EMBEDDED {
            let shown = dir
                .map(|dir| dir.join(format!("{name}.txt")))
                .filter(|file| file.exists())
                .map_or_else(|| name.to_owned(), |file| file.display().to_string());
            messages.validate(name, &shown)?;
        }
        Ok(messages)
    }

    fn validate(&self, name: &str, shown: &str) -> Result<(), String> {
        let template = self
            .environment
            .get_template(name)
            .map_err(|error| describe(shown, &error))?;
        let zone = Zone::named("UTC");
        let mut known = BTreeSet::new();
        let samples = samples::of(name);
        for sample in &samples {
            known.extend(super::variables::variables(sample, &zone).names());
        }
        // Branches that no sample takes are covered by name.
        for variable in template.undeclared_variables(false) {
            if !known.contains(variable.as_str()) && variable != "range" {
                let line = line_of(template.source(), &variable);
                let known: Vec<_> = known.into_iter().collect();
                return Err(format!(
                    "template {shown}, line {line}: unknown variable {variable:?} (this template knows: {})",
                    known.join(", ")
                ));
            }
        }
        for sample in &samples {
            self.sections(name, super::variables::variables(sample, &zone))
                .map_err(|error| describe(shown, &error))?;
        }
        Ok(())
    }

    /// The sections of one template.
    pub(super) fn sections(
        &self,
        name: &str,
        variables: super::variables::Variables,
    ) -> Result<Sections, minijinja::Error> {
        let template = self.environment.get_template(&sections_of(name))?;
        let mut captured = template.render_captured(Value::from_object(variables))?;
        captured.with_state_mut(|state| {
            let mut block =
                |name: &str| Ok::<_, minijinja::Error>(tidy(&state.render_block(name)?));
            let [heading, text, next, note, notification] = SECTIONS;
            Ok(Sections {
                heading: block(heading)?,
                text: block(text)?,
                next: block(next)?,
                note: block(note)?,
                notification: block(notification)?,
            })
        })
    }
}

/// A template as it is, for others to include, and as [`Messages::sections`] renders it.
fn add(
    environment: &mut Environment<'static>,
    name: &str,
    source: &str,
) -> Result<(), minijinja::Error> {
    environment.add_template_owned(name.to_owned(), source.to_owned())?;
    // On the first line, so that errors name the lines of the file. A template extends one other at most.
    let own = match source.contains("extends") {
        true => source.to_owned(),
        false => format!("{{% extends \"{NO_PAGE}\" %}}{source}"),
    };
    environment.add_template_owned(sections_of(name), own)
}

fn sections_of(name: &str) -> String {
    format!("{name} by sections")
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Plain text: each chat escapes for its own syntax.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    match SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
    {
        Ok(syntax) => environment.set_syntax(syntax),
        Err(error) => tracing::error!(%error, "the template syntax is broken"),
    }
    if let Err(error) = environment.add_template(NO_PAGE, "") {
        tracing::error!(%error, "an empty template is broken");
    }
    environment
}

/// The names of the replaced templates; a file that replaces nothing is an error.
fn overrides(dir: &Path) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(dir)
        .map_err(|error| format!("templates folder {}: {error}", dir.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(|error| format!("templates folder {}: {error}", dir.display()))?
            .path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        if !EMBEDDED.iter().any(|(known, _)| *known == name) {
            let known: Vec<_> = EMBEDDED.iter().map(|(known, _)| *known).collect();
            return Err(format!(
                "template {}: no message has this name, expected one of {}",
                path.display(),
                known.join(", ")
            ));
        }
        names.push(name);
    }
    names.sort();
    Ok(names)
}

fn describe(shown: &str, error: &minijinja::Error) -> String {
    let line = error
        .line()
        .map_or_else(String::new, |line| format!(", line {line}"));
    let detail = error
        .detail()
        .map_or_else(String::new, |detail| format!(": {detail}"));
    format!("template {shown}{line}: {}{detail}", error.kind())
}

fn line_of(source: &str, word: &str) -> usize {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    source
        .lines()
        .position(|line| {
            // Comments name variables too.
            let code = line.contains("{{") || line.contains("{%");
            code && line.split(|c| !is_word(c)).any(|found| found == word)
        })
        .map_or(1, |index| index + 1)
}

/// Without the white space that the template's own lines leave.
fn tidy(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim) {
        let blank_before = lines.last().is_none_or(|last| last.is_empty());
        if !(line.is_empty() && blank_before) {
            lines.push(line);
        }
    }
    lines.join("\n").trim().to_owned()
}
