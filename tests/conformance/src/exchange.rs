//! One step of a case against a server: fill the placeholders, send, read the answer.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use crate::answer::Answer;
use crate::client::{Client, Reply, Request};
use crate::placeholders::Placeholders;
use crate::suite::Step;

/// Sends the request of `step`; the unique word of the run is `@run` again in the answer.
pub(crate) async fn exchange(client: &Client, step: &Step, placeholders: &Placeholders) -> Result<Answer> {
    let request = request_of(step, placeholders)?;
    let reply = client.send(&request).await?;
    Ok(answer_of(&reply, placeholders))
}

pub(crate) fn answer_of(reply: &Reply, placeholders: &Placeholders) -> Answer {
    Answer::from_body(reply.status, &reply.content_type, &placeholders.restore(&reply.text))
}

pub(crate) fn request_of(step: &Step, placeholders: &Placeholders) -> Result<Request> {
    let mut params = Vec::new();
    for (name, values) in &step.params {
        for value in values.as_slice() {
            params.push((name.clone(), placeholders.fill(value)));
        }
    }
    let body = match (&step.body_b64, &step.body) {
        (Some(encoded), _) => Some(STANDARD.decode(encoded).context("`body_b64` is no base64")?),
        (None, Some(raw)) => Some(body_bytes(raw, placeholders)?),
        (None, None) => None,
    };
    let headers = step.headers.iter().map(|(name, value)| (name.clone(), placeholders.fill(value))).collect();
    let request = Request { method: step.method.clone(), path: placeholders.fill(&step.path), params, headers, body };
    request.validate()?;
    Ok(request)
}

/// A body given as text is sent as that text, one given as JSON as its JSON.
pub(crate) fn body_bytes(raw: &RawValue, placeholders: &Placeholders) -> Result<Vec<u8>> {
    if raw.get().starts_with('"') {
        let text: String = serde_json::from_str(raw.get())?;
        return Ok(placeholders.fill(&text).into_bytes());
    }
    Ok(placeholders.fill(raw.get()).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(extra: &str) -> Step {
        serde_json::from_str(&format!(r#"{{"path":"/p/@run"{extra},"expect":{{"status":200,"type":"text","body":""}}}}"#)).unwrap()
    }

    #[test]
    fn placeholders_are_filled_everywhere() {
        let placeholders = Placeholders::new(5_000_000_000, "rx".to_owned());
        let request = request_of(
            &step(r#","method":"POST","params":{"a":["@now:s","@run"]},"headers":{"X":"@run"},"body":{"t":"@now+1"}"#),
            &placeholders,
        )
        .unwrap();
        assert_eq!(request.path, "/p/rx");
        assert_eq!(request.params, [("a".to_owned(), "5".to_owned()), ("a".to_owned(), "rx".to_owned())]);
        assert_eq!(request.headers, [("X".to_owned(), "rx".to_owned())]);
        assert_eq!(request.body.unwrap(), br#"{"t":"6000000000"}"#);
    }

    #[test]
    fn bodies_are_text_json_or_bytes() {
        let placeholders = Placeholders::new(0, "rx".to_owned());
        for (extra, body) in [
            (r#","body":"a\n\"b""#, Some(&b"a\n\"b"[..])),
            (r#","body":[1.0, 2]"#, Some(b"[1.0, 2]")),
            (r#","body_b64":"/wA=""#, Some(b"\xff\x00")),
            (r#","body":null"#, None),
            ("", None),
        ] {
            assert_eq!(request_of(&step(extra), &placeholders).unwrap().body.as_deref(), body, "{extra}");
        }
    }
}
