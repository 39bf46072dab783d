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

/// All but those that a run of this kind cannot reach: the web chat needs no read-back, Slack keeps its
/// messages itself, and trimming comes once a minute.
#[cfg(feature = "fault-injection")]
pub fn required_windows(has_calm: bool, slack: bool) -> Vec<String> {
    let elsewhere = match slack {
        true => "store.put_rows.chat",
        false => "chat.find",
    };
    let mut windows = securitybot::fault::windows();
    windows.retain(|window| {
        !window.starts_with(elsewhere) && (has_calm || !window.starts_with("store.trim"))
    });
    windows
}

#[cfg(not(feature = "fault-injection"))]
pub fn required_windows(_: bool, _: bool) -> Vec<String> {
    Vec::new()
}
