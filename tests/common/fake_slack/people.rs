//! What people do in this Slack, as Slack tells the app.

use serde_json::{Value, json};

use super::{FakeSlack, TEAM};

impl FakeSlack {
    pub fn add_user(&self, id: &str, name: &str, email: &str) {
        self.state().users.push(json!({
            "id": id, "team_id": TEAM, "name": name.to_lowercase(), "deleted": false, "is_bot": false,
            "real_name": name, "tz": "Europe/Berlin", "locale": "en-US",
            "profile": { "real_name": name, "email": email },
        }));
    }

    /// Types into the direct channel.
    pub fn say(&self, user: &str, text: &str) -> String {
        let payload = {
            let mut state = self.state();
            let channel = state.open_channel(user);
            let ts = state.ts();
            let event = json!({
                "type": "message", "channel": channel, "channel_type": "im", "user": user, "team": TEAM,
                "text": text, "ts": ts, "event_ts": ts,
            });
            state
                .messages
                .get_mut(&channel)
                .unwrap()
                .push(event.clone());
            let id = state.next("Ev");
            json!({ "type": "event_callback", "team_id": TEAM, "event_id": id, "event": event })
        };
        self.envelope("events_api", payload)
    }

    /// A channel that the bot was invited to.
    pub fn add_channel(&self, id: &str) {
        self.state().messages.insert(id.to_owned(), Vec::new());
    }

    /// Replies in the thread of a channel's message.
    pub fn reply(&self, user: &str, message: &Value, text: &str) -> String {
        let payload = {
            let mut state = self.state();
            let (ts, id) = (state.ts(), state.next("Ev"));
            json!({ "type": "event_callback", "team_id": TEAM, "event_id": id, "event": {
                "type": "message", "channel": message["channel"], "channel_type": "channel", "user": user,
                "team": TEAM, "text": text, "ts": ts, "thread_ts": message["ts"],
            } })
        };
        self.envelope("events_api", payload)
    }

    /// What Slack tells when `user` presses a button of a message; the value is the stored one.
    pub fn click_payload(&self, user: &str, message: &Value, action: &str) -> Value {
        let mut state = self.state();
        let stored = state.message(&message["channel"], &message["ts"]).unwrap();
        let button = buttons(stored)
            .into_iter()
            .find(|button| button["action_id"] == action)
            .unwrap_or_else(|| panic!("no button {action} on {stored:#}"));
        let at = state.ts();
        json!({
            "type": "block_actions", "team": { "id": TEAM }, "user": { "id": user, "team_id": TEAM },
            "container": {
                "type": "message", "message_ts": message["ts"], "channel_id": message["channel"],
            },
            "channel": { "id": message["channel"] },
            "trigger_id": state.trigger(),
            "actions": [{ "type": "button", "action_id": action, "value": button["value"], "action_ts": at }],
        })
    }

    pub fn click(&self, user: &str, message: &Value, action: &str) -> String {
        let payload = self.click_payload(user, message, action);
        self.envelope("interactive", payload)
    }

    /// The form that the click of this payload opened.
    pub fn form(&self, nth: usize) -> Value {
        self.wait_for("a form", |state| state.views.get(nth).cloned())
    }

    pub fn submit_payload(&self, user: &str, view: &Value, why: &str, code: &str) -> Value {
        let mut state = self.state();
        let mut values = json!({
            "why": { "why": { "type": "plain_text_input", "value": why } },
            "code": { "code": { "type": "plain_text_input", "value": code } },
        });
        let blocks = view["blocks"].as_array().unwrap();
        if let Some(ticks) = blocks.iter().find(|block| block["block_id"] == "ticks") {
            values["ticks"] = json!({ "ticks": {
                "type": "checkboxes", "selected_options": ticks["element"]["initial_options"],
            } });
        }
        let mut view = view.clone();
        view["state"] = json!({ "values": values });
        json!({
            "type": "view_submission", "team": { "id": TEAM }, "user": { "id": user, "team_id": TEAM },
            "trigger_id": state.trigger(), "view": view,
        })
    }

    /// Fills in the reason form of a page.
    pub fn submit_reason(&self, user: &str, view: &Value, reason: &str) -> Value {
        let mut payload = self.submit_payload(user, view, "", "");
        payload["view"]["state"]["values"] = json!({
            "reason": { "reason": { "type": "plain_text_input", "value": reason } },
        });
        let id = self.envelope("interactive", payload);
        self.acknowledged(&id)
    }

    /// Fills the form in; the acknowledgement's payload says what the person sees.
    pub fn submit(&self, user: &str, view: &Value, why: &str, code: &str) -> Value {
        let payload = self.submit_payload(user, view, why, code);
        let id = self.envelope("interactive", payload);
        self.acknowledged(&id)
    }
}

pub fn buttons(message: &Value) -> Vec<Value> {
    let blocks = message["blocks"].as_array().cloned().unwrap_or_default();
    blocks
        .iter()
        .filter(|block| block["type"] == "actions")
        .flat_map(|block| block["elements"].as_array().cloned().unwrap_or_default())
        .collect()
}

pub fn actions(message: &Value) -> Vec<String> {
    let buttons = buttons(message);
    let ids = buttons
        .iter()
        .map(|b| b["action_id"].as_str().unwrap().to_owned());
    ids.collect()
}
