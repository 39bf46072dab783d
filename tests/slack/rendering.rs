//! What people see, and that hostile text is only seen.

use insta::assert_snapshot;
use securitybot::core::conversation::Content;
use securitybot::plugins::chat::slack::message;
use serde_json::Value;

use crate::bot::{asked, proof_form, question, rendered};
use crate::common::fake_slack::rules::check_blocks;

#[test]
fn a_question_in_block_kit() {
    let (text, blocks) = message(&asked());
    let blocks = serde_json::to_string_pretty(&blocks).unwrap();
    assert_snapshot!(format!("{text}\n{blocks}"));
}

#[test]
fn hostile_text_is_cut_and_means_nothing() {
    let evil = "<!channel> <@U1> <https://evil.example|click> & *b* `c` \u{202e}\u{200b}\u{7}";
    let mut asked = question(&format!("{evil} {}", "t".repeat(500)), &evil.repeat(2_000));
    asked.description = evil.repeat(2_000).as_str().into();
    asked.context = (0..40)
        .map(|nth| {
            (
                format!("key {nth} {evil}"),
                evil.repeat(100).as_str().into(),
            )
        })
        .collect();
    asked.url = Some(
        format!("https://e.example/{}", "u".repeat(5_000))
            .as_str()
            .into(),
    );
    let (text, blocks) = message(&rendered(Content::Question {
        question: Box::new(asked),
    }));
    check_blocks(&Value::from(blocks.clone()), 50).unwrap();
    let mut all = text.clone();
    for block in &blocks {
        // In rich text a text element is literal; everything else is escaped.
        if block["type"] == "rich_text" {
            let elements = &block["elements"][0]["elements"];
            assert!(
                elements
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|e| e["type"] == "text")
            );
            continue;
        }
        all.push_str(&block.to_string());
    }
    assert!(!all.contains('<') && !all.contains('>'), "{all}");
    let whole = format!("{text}{}", Value::from(blocks));
    for hidden in ['\u{202e}', '\u{200b}', '\u{7}'] {
        assert!(!whole.contains(hidden));
    }
    assert!(!whole.contains("mrkdwn"), "plain text only");
}

#[test]
fn a_form_with_many_questions_fits_into_its_button() {
    for ticks in [1, 2, 10, 40] {
        let (_, blocks) = message(&proof_form(ticks));
        check_blocks(&Value::from(blocks), 50).unwrap();
    }
}
