//! What people and logs read of an alert and of what employees wrote: it is hostile in every field, and must come out
//! as text that means nothing (promise P8).

use std::any::Any;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use securitybot::core::conversation::{Effect as Said, Outgoing};
use securitybot::core::escalation::Effect as Paging;
use securitybot::core::page::Raise;
use securitybot::core::record::Record;
use securitybot::messages::Messages;
use securitybot::plugins::chat::slack;
use serde_json::Value;

/// A mention, a link, markup, a line of its own, and letters that turn the text around or hide.
pub const HOSTILE: &str =
    "<!channel> <@U1> <https://evil.example|click> <b>\u{202e}x\u{200b}\u{1b}[31m\nforged";

/// Rendering is slow and says the same of the same: each text is read once.
pub struct Reader {
    messages: Messages,
    read: Mutex<HashMap<u64, Option<String>>>,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            messages: Messages::embedded(),
            read: Mutex::default(),
        }
    }
}

impl Reader {
    /// What is wrong with anything that one step says.
    pub fn find_fault(
        &self,
        effects: &[&dyn Any],
        raised: &[Raise],
        records: &[Record],
    ) -> Option<String> {
        let effects = effects.iter().filter_map(|effect| self.of_effect(*effect));
        let pages = raised.iter().filter_map(|page| self.of_page(page));
        let records = records.iter().filter_map(|record| hidden(&record.detail));
        effects.chain(pages).chain(records).next()
    }

    fn of_effect(&self, effect: &dyn Any) -> Option<String> {
        if let Some(Paging::Page { page, .. }) = effect.downcast_ref() {
            return line(&page.summary);
        }
        match effect.downcast_ref()? {
            Said::Send(message) => self.of_message(message),
            Said::Edit { message, .. } => self.of_message(message),
            Said::RaiseAgain(raise) => self.of_page(raise),
            Said::StartPush(push) => {
                let mut info = push.info.iter();
                info.find_map(|(name, value)| line(name).or_else(|| line(value)))
            }
            Said::AwaitPush { .. } => None,
        }
    }

    fn of_page(&self, page: &Raise) -> Option<String> {
        let notes = page.notes.iter().find_map(|note| hidden(note));
        line(&page.summary).or(notes)
    }

    fn of_message(&self, message: &Outgoing) -> Option<String> {
        let mut hasher = DefaultHasher::new();
        let content = serde_json::to_string(&message.content).unwrap();
        content.hash(&mut hasher);
        let key = hasher.finish();
        if let Some(known) = self.read.lock().unwrap().get(&key) {
            return known.clone();
        }
        let found = self.rendered(message);
        self.read.lock().unwrap().insert(key, found.clone());
        found
    }

    fn rendered(&self, message: &Outgoing) -> Option<String> {
        let rendered = self.messages.render_for(message, "UTC");
        let (mut text, blocks) = slack::message(&rendered);
        for block in &blocks {
            // In rich text a text element is literal, everything else is escaped.
            if block["type"] == "rich_text" {
                let elements = block["elements"][0]["elements"].as_array();
                let mut elements = elements.into_iter().flatten();
                if elements.any(|element| element["type"] != "text") {
                    return Some(format!("more than text in {block}"));
                }
            } else {
                text.push_str(&block.to_string());
            }
        }
        if text.contains(['<', '>']) {
            return Some(format!("markup in {text}"));
        }
        hidden(&rendered.to_plain()).or_else(|| hidden(&Value::from(blocks).to_string()))
    }
}

/// Letters that nobody sees, or that turn what stands after them around.
fn hidden(text: &str) -> Option<String> {
    let is_hidden =
        |c: char| (c.is_control() && c != '\n') || ['\u{202e}', '\u{200b}'].contains(&c);
    let found = text.contains(is_hidden) || text.contains("\\u001b");
    found.then(|| format!("hidden letters in {text:?}"))
}

fn line(text: &str) -> Option<String> {
    let is_cut = text.contains(['\n', '\r']);
    is_cut
        .then(|| format!("a line of its own in {text:?}"))
        .or_else(|| hidden(text))
}
