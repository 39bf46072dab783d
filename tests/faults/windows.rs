//! The dangerous windows of a build that can be told to fail; no other has any.

#[cfg(feature = "fault-injection")]
pub fn all_attacks() -> Vec<(String, &'static str)> {
    let windows = securitybot::fault::windows();
    let actions = ["abort", "hang", "fail"];
    windows
        .into_iter()
        .flat_map(|window| actions.map(|action| (window.clone(), action)))
        .collect()
}

#[cfg(not(feature = "fault-injection"))]
pub fn all_attacks() -> Vec<(String, &'static str)> {
    Vec::new()
}

/// All but those that a run of this kind cannot be sure to reach: the web chat's messages are part of commits,
/// unless somebody types; Slack keeps its messages itself; trimming comes once a minute; and a queue is read
/// only where a life ended between accepting an alert and handing it over.
#[cfg(feature = "fault-injection")]
pub fn required_windows(has_calm: bool, slack: bool) -> Vec<String> {
    let elsewhere: &[&str] = match slack {
        true => &["store.put_rows.chat", "store.queued"],
        false => &["store.put_rows.chat", "store.queued", "chat."],
    };
    let mut windows = securitybot::fault::windows();
    windows.retain(|window| {
        !elsewhere.iter().any(|name| window.starts_with(name))
            && (has_calm || !window.starts_with("store.trim"))
    });
    windows
}

#[cfg(not(feature = "fault-injection"))]
pub fn required_windows(_: bool, _: bool) -> Vec<String> {
    Vec::new()
}
