//! What people do in this Slack, as Slack tells the app.

use serde_json::{Value, json};

use super::{FakeSlack, State, TEAM};

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

    /// Looks at the Home tab (`home`) or at the messages beside it (`messages`).
    pub fn open_home(&self, user: &str, tab: &str) -> String {
        let payload = {
            let mut state = self.state();
            let (channel, ts, id) = (state.open_channel(user), state.ts(), state.next("Ev"));
            json!({ "type": "event_callback", "team_id": TEAM, "event_id": id, "event": {
                "type": "app_home_opened", "user": user, "channel": channel, "tab": tab, "event_ts": ts,
            } })
        };
        self.envelope("events_api", payload)
    }

    /// The user's Home tab once it says so.
    pub fn home_of(&self, user: &str, saying: &str) -> Value {
        self.wait_for(&format!("a Home tab of {user} with {saying:?}"), |state| {
            let home = state.homes.get(user)?;
            home.to_string().contains(saying).then(|| home.clone())
        })
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
        let blocks = stored["blocks"].as_array().cloned().unwrap_or_default();
        let (block_id, button) = blocks
            .iter()
            .flat_map(|block| {
                let elements = block["elements"].as_array().into_iter().flatten();
                elements.map(|element| (block["block_id"].clone(), element.clone()))
            })
            .find(|(_, button)| button["action_id"] == action)
            .unwrap_or_else(|| panic!("no button {action} on {stored:#}"));
        press(&mut state, user, message, &block_id, &button, action)
    }

    /// What Slack tells of a button that the person saw a while ago, whatever has become of it.
    /// The envelope and the trigger.
    pub fn press(&self, user: &str, message: &Value, button: &Value) -> (String, String) {
        let action = button["action_id"].as_str().unwrap();
        let block = json!("answer");
        let payload = press(&mut self.state(), user, message, &block, button, action);
        let trigger = payload["trigger_id"].as_str().unwrap().to_owned();
        (self.envelope("interactive", payload), trigger)
    }

    /// Picks a person in a message's select.
    pub fn pick(&self, user: &str, message: &Value, action: &str, picked: &str) -> String {
        let mut payload = self.click_payload(user, message, action);
        let pressed = &mut payload["actions"][0];
        assert_eq!(pressed["type"], "users_select");
        pressed["selected_user"] = json!(picked);
        self.envelope("interactive", payload)
    }

    pub fn click(&self, user: &str, message: &Value, action: &str) -> String {
        let payload = self.click_payload(user, message, action);
        self.envelope("interactive", payload)
    }

    /// The form that the click of this payload opened.
    pub fn form(&self, nth: usize) -> Value {
        self.wait_for("a form", |state| state.views.get(nth).cloned())
    }

    /// Fills fields in, presses the submit button, and gives what the person sees: the acknowledgement's payload.
    pub fn fill_in(&self, user: &str, view: &Value, fields: &[(&str, &str)]) -> Value {
        let id = self.send_form(user, view, fields);
        let answer = self.acknowledged(&id);
        // What stands at a field that the form does not have is shown to nobody.
        for field in answer["errors"].as_object().into_iter().flatten() {
            let is_shown = inputs(view).any(|input| input["block_id"] == field.0.as_str());
            assert!(is_shown, "an error at {field:?}, which is not in {view:#}");
        }
        answer
    }

    /// The same without waiting for what becomes of it: the envelope's id.
    pub fn send_form(&self, user: &str, view: &Value, fields: &[(&str, &str)]) -> String {
        let mut sent = view.clone();
        sent["state"] = json!({ "values": values(view, fields) });
        let payload = json!({
            "type": "view_submission", "team": { "id": TEAM }, "user": { "id": user, "team_id": TEAM },
            "trigger_id": self.state().trigger(user), "view": sent,
        });
        self.envelope("interactive", payload)
    }

    /// Fills in the reason form of a page.
    pub fn submit_reason(&self, user: &str, view: &Value, reason: &str) -> Value {
        self.fill_in(user, view, &[("reason", reason)])
    }

    /// Fills the form in with a code.
    pub fn submit(&self, user: &str, view: &Value, why: &str, code: &str) -> Value {
        let fields = [("why", why), ("factor", "code"), ("code", code)];
        self.fill_in(user, view, &fields)
    }

    /// Fills the form in, to be approved on the phone.
    pub fn submit_push(&self, user: &str, view: &Value, why: &str) -> Value {
        self.fill_in(user, view, &[("why", why), ("factor", "push")])
    }
}

fn press(
    state: &mut State,
    user: &str,
    message: &Value,
    block_id: &Value,
    button: &Value,
    action: &str,
) -> Value {
    let at = state.ts();
    json!({
        "type": "block_actions", "team": { "id": TEAM }, "user": { "id": user, "team_id": TEAM },
        "container": {
            "type": "message", "message_ts": message["ts"], "channel_id": message["channel"],
        },
        "channel": { "id": message["channel"] },
        "trigger_id": state.trigger(user),
        "actions": [{
            "type": button["type"], "action_id": action, "block_id": block_id, "value": button["value"],
            "action_ts": at,
        }],
    })
}

fn inputs(view: &Value) -> impl Iterator<Item = &Value> {
    let blocks = view["blocks"].as_array().into_iter().flatten();
    blocks.filter(|block| block["type"] == "input")
}

/// What Slack tells of a filled-in form: every input of it and no other, what was not touched as it stood there.
fn values(view: &Value, fields: &[(&str, &str)]) -> Value {
    let mut values = json!({});
    for input in inputs(view) {
        let (id, element) = (input["block_id"].as_str().unwrap(), &input["element"]);
        let given = fields.iter().find(|(name, _)| *name == id);
        let given = given.map(|(_, text)| *text);
        let kind = element["type"].as_str().unwrap();
        let value = match kind {
            "plain_text_input" => {
                let text = given.or(element["initial_value"].as_str());
                let text = text.filter(|text| !text.is_empty());
                let is_needed = input["optional"] != true;
                assert!(
                    text.is_some() || !is_needed,
                    "Slack lets nobody leave {id} empty"
                );
                json!({ "type": kind, "value": text })
            }
            "checkboxes" => {
                let ticked = |option: &&Value| {
                    let value = option["value"].as_str().unwrap();
                    given.is_some_and(|given| given.split(',').any(|one| one == value))
                };
                let options = element["options"].as_array().unwrap().iter();
                let chosen = match given {
                    Some(_) => options.filter(ticked).cloned().collect(),
                    None => json!(element["initial_options"]),
                };
                json!({ "type": kind, "selected_options": chosen })
            }
            "users_select" => json!({ "type": kind, "selected_user": given }),
            "radio_buttons" => {
                let mut options = element["options"].as_array().unwrap().iter();
                let chosen =
                    options.find(|option| Some(option["value"].as_str().unwrap()) == given);
                let chosen = chosen.unwrap_or(&element["initial_option"]);
                json!({ "type": kind, "selected_option": chosen })
            }
            other => panic!("an input of kind {other}"),
        };
        let action = element["action_id"].as_str().unwrap();
        values[id] = json!({ action: value });
    }
    values
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
