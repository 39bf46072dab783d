//! What Slack refuses in a message or a form (docs.slack.dev, "Blocks" and "Block elements"): too long, empty, or of a
//! kind it does not know. Counted in UTF-16 as its JavaScript does.

use serde_json::Value;

type Verdict = Result<(), String>;

pub fn check_blocks(blocks: &Value, most: usize) -> Verdict {
    let blocks = blocks.as_array().ok_or("blocks are no list")?;
    require(blocks.len() <= most, "too many blocks")?;
    blocks.iter().try_for_each(check_block)
}

pub fn check_view(view: &Value) -> Verdict {
    require(view["type"] == "modal", "no modal")?;
    for part in ["title", "submit", "close"] {
        if !view[part].is_null() {
            check_text(&view[part], 24, &["plain_text"])?;
        }
    }
    let metadata = view["private_metadata"].as_str().unwrap_or_default();
    require(metadata.len() <= 3_000, "private_metadata too long")?;
    let has_input = view["blocks"]
        .as_array()
        .is_some_and(|blocks| blocks.iter().any(|block| block["type"] == "input"));
    require(
        !has_input || !view["submit"].is_null(),
        "inputs need submit",
    )?;
    check_blocks(&view["blocks"], 100)
}

pub fn check_home(view: &Value) -> Verdict {
    require(view["type"] == "home", "no home")?;
    let parts = ["title", "submit", "close"].iter();
    let mut foreign = parts.filter(|part| !view[**part].is_null());
    require(
        foreign.next().is_none(),
        "a home has no title and no buttons of its own",
    )?;
    check_blocks(&view["blocks"], 100)
}

fn check_block(block: &Value) -> Verdict {
    let any = ["plain_text", "mrkdwn"];
    require(length(&block["block_id"]) <= 255, "block_id too long")?;
    match block["type"].as_str() {
        Some("header") => check_text(&block["text"], 150, &["plain_text"]),
        Some("section") => {
            let fields = block["fields"].as_array();
            require(
                fields.is_some() || block["text"].is_object(),
                "an empty section",
            )?;
            if block["text"].is_object() {
                check_text(&block["text"], 3_000, &any)?;
            }
            let fields = fields.cloned().unwrap_or_default();
            require(fields.len() <= 10, "too many fields")?;
            fields
                .iter()
                .try_for_each(|field| check_text(field, 2_000, &any))
        }
        Some("context") => {
            let elements = list(&block["elements"], 10)?;
            elements
                .iter()
                .try_for_each(|text| check_text(text, 2_000, &any))
        }
        Some("actions") => list(&block["elements"], 25)?
            .iter()
            .try_for_each(check_element),
        Some("input") => {
            check_text(&block["label"], 2_000, &["plain_text"])?;
            check_element(&block["element"])
        }
        Some("rich_text") => list(&block["elements"], 100)?.iter().try_for_each(|part| {
            require(
                part["type"] == "rich_text_preformatted",
                "an unexpected rich text",
            )?;
            let texts = part["elements"].as_array().ok_or("no rich text elements")?;
            texts.iter().try_for_each(|text| {
                require(text["type"] == "text", "a mention or link in rich text")?;
                require(
                    (1..=4_000).contains(&length(&text["text"])),
                    "rich text length",
                )
            })
        }),
        other => Err(format!("unknown block {other:?}")),
    }
}

fn check_element(element: &Value) -> Verdict {
    require(length(&element["action_id"]) <= 255, "action_id too long")?;
    match element["type"].as_str() {
        Some("button") => {
            check_text(&element["text"], 75, &["plain_text"])?;
            require(length(&element["value"]) <= 2_000, "value too long")?;
            require(length(&element["url"]) <= 3_000, "url too long")?;
            let style = &element["style"];
            require(
                style.is_null() || style == "primary" || style == "danger",
                "style",
            )
        }
        Some("plain_text_input") => {
            let most = element["max_length"].as_u64().unwrap_or(3_000);
            require((1..=3_000).contains(&most), "max_length")?;
            let initial = length(&element["initial_value"]) as u64;
            require(initial <= most, "initial_value too long")
        }
        Some("radio_buttons") => {
            let options = options(element)?;
            let initial = &element["initial_option"];
            require(
                initial.is_null() || options.contains(initial),
                "initial_option is no option",
            )
        }
        Some("users_select") => match element["placeholder"].is_null() {
            true => Ok(()),
            false => check_text(&element["placeholder"], 150, &["plain_text"]),
        },
        Some("checkboxes") => {
            let options = options(element)?;
            let initial = element["initial_options"].as_array();
            let initial = initial.into_iter().flatten();
            initial.clone().try_for_each(|option| {
                require(options.contains(option), "initial_options are not options")
            })?;
            let given = !element["initial_options"].is_null();
            require(
                !given || initial.count() > 0,
                "initial_options must not be empty",
            )
        }
        other => Err(format!("unknown element {other:?}")),
    }
}

fn options(element: &Value) -> Result<&Vec<Value>, String> {
    let options = list(&element["options"], 10)?;
    for option in options {
        check_text(&option["text"], 75, &["plain_text", "mrkdwn"])?;
        require(length(&option["value"]) <= 150, "option value too long")?;
    }
    Ok(options)
}

fn check_text(text: &Value, most: usize, kinds: &[&str]) -> Verdict {
    let kind = text["type"].as_str().unwrap_or_default();
    require(kinds.contains(&kind), &format!("text of kind {kind:?}"))?;
    let length = length(&text["text"]);
    require(
        (1..=most).contains(&length),
        &format!("text of {length}, at most {most}"),
    )
}

fn list(value: &Value, most: usize) -> Result<&Vec<Value>, String> {
    let list = value.as_array().ok_or("no list")?;
    require((1..=most).contains(&list.len()), "the list's length")?;
    Ok(list)
}

fn length(value: &Value) -> usize {
    value.as_str().unwrap_or_default().encode_utf16().count()
}

fn require(holds: bool, what: &str) -> Verdict {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}
