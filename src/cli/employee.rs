//! What operators do for one employee: enrol, sign in, unlock.

use std::io::Write;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::{Value, json};

use super::api::{Api, encoded};
use super::failure::Failure;
use super::line;

/// The URI alone on the first line, for scripts; then a QR code, for a telephone.
pub async fn enroll(api: &Api, employee: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let path = format!("/v1/employees/{}/factors/totp", encoded(employee));
    let answer = api.post(&path, &json!({})).await?;
    let uri = text(&answer, "otpauth_uri")?;
    line(out, uri)?;
    let code = QrCode::new(uri.as_bytes())
        .map_err(|e| Failure::failed(format!("no QR code can be made of the URI above: {e}")))?;
    // Most terminals are dark: light modules are drawn, dark ones left out.
    let picture = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    line(out, &format!("\n{picture}\n"))?;
    line(
        out,
        &format!("Scan it with {employee}'s authenticator app; it replaces an earlier one."),
    )
}

/// The one-time link alone on one line.
pub async fn link(
    api: &Api,
    employee: &str,
    kind: &str,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let path = format!("/v1/employees/{}/links", encoded(employee));
    let answer = api.post(&path, &json!({ "kind": kind })).await?;
    line(out, text(&answer, "url")?)
}

pub async fn unlock(api: &Api, employee: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let path = format!("/v1/employees/{}/unlock", encoded(employee));
    api.post(&path, &json!({})).await?;
    line(out, &format!("{employee} can prove answers again"))
}

fn text<'a>(answer: &'a Value, key: &str) -> Result<&'a str, Failure> {
    answer[key].as_str().ok_or_else(|| {
        Failure::failed(format!(
            "the service answered without {key}: is it of the same version?"
        ))
    })
}
