//! Whether the receiver is tailwater: asked once with `GET /ready`, before the first push.
//!
//! What it says decides whether structured metadata is sent, and so the identity of every entry; therefore a receiver that is not up, or a gateway
//! that stands before one, is asked again until there is a real answer.

use std::time::Duration;

use super::backoff::{Backoff, BackoffBounds, random};
use super::receiver::Receiver;

const BOUNDS: BackoffBounds = BackoffBounds { min_period: Duration::from_millis(250), max_period: Duration::from_secs(5), max_retries: 0 };

/// What an answer to `GET /ready` says; `None` if it says nothing.
fn decide(status: u16, is_announced: bool) -> Option<bool> {
    match status {
        _ if is_announced => Some(true),
        // Another program's answer, or one that does not know the path.
        200..=499 if status != 429 && status != 408 => Some(false),
        _ => None,
    }
}

/// Asks until there is an answer.
pub(crate) async fn is_tailwater(receiver: &Receiver) -> bool {
    let mut backoff = Backoff::new(BOUNDS);
    let mut is_told = false;
    loop {
        let answer = receiver.ask_ready().await;
        if let Ok((status, is_announced)) = answer
            && let Some(is_tailwater) = decide(status, is_announced)
        {
            return is_tailwater;
        }
        if !is_told {
            is_told = true;
            let status = answer.as_ref().ok().map(|(status, _)| *status);
            let error = answer.err().map(|error| error.to_string());
            tracing::warn!(url = %receiver.url, status, error, "receiver is not up yet; waiting for it");
        }
        tokio::time::sleep(backoff.next_wait(random()).max(Duration::from_millis(50))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_real_answer_decides() {
        for (status, is_announced, expected) in [
            (200, true, Some(true)),
            (503, true, Some(true)),
            (200, false, Some(false)),
            (404, false, Some(false)),
            (401, false, Some(false)),
            (502, false, None),
            (503, false, None),
            (429, false, None),
        ] {
            assert_eq!(decide(status, is_announced), expected, "{status} {is_announced}");
        }
    }
}
