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

/// A life that ends here has accepted an alert and not handed it over: the next one reads it from its queue.
pub const BEFORE_HANDING_OVER: (&str, &str) = ("store.write.accept.after", "abort");

/// All but those that a run of this kind does not have: nobody reads back from the web chat, whose messages have the
/// key they were sent under; Slack keeps its messages itself; trimming comes once a minute.
#[cfg(feature = "fault-injection")]
pub fn required_windows(has_calm: bool, slack: bool) -> Vec<String> {
    let elsewhere: &[&str] = match slack {
        true => &["store.put_rows.chat"],
        false => &["chat.find"],
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
