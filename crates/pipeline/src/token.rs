//! Completion tokens: "everything that this endpoint had received by then".
//!
//! A token is JSON in URL-safe base64 without padding, so that it can stand in a query string. It
//! names the incarnation: counters start again with the process, and a token of an earlier one must
//! not be mistaken for complete.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    #[serde(rename = "u")]
    pub incarnation: Uuid,
    #[serde(rename = "e")]
    pub endpoint: u64,
    /// Records that the endpoint had received.
    #[serde(rename = "c")]
    pub records: u64,
}

impl Token {
    pub fn encode(&self) -> String {
        let json = serde_json::json!({
            "u": self.incarnation, "e": self.endpoint, "c": self.records,
        });
        URL_SAFE_NO_PAD.encode(json.to_string())
    }

    /// # Errors
    /// [`Error::InvalidToken`] if the text is no token.
    pub fn decode(text: &str) -> Result<Self> {
        let invalid = |reason: String| Error::InvalidToken { reason };
        let json = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|error| invalid(error.to_string()))?;
        serde_json::from_slice(&json).map_err(|error| invalid(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_round_trip_and_fit_into_a_url() {
        let token = Token {
            incarnation: Uuid::from_u128(0x0123_4567_89ab_cdef),
            endpoint: 7,
            records: u64::MAX,
        };
        let text = token.encode();
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        );
        assert_eq!(Token::decode(&text).unwrap(), token);
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "???", "e30", "bm8"] {
            assert!(matches!(
                Token::decode(text),
                Err(Error::InvalidToken { .. })
            ));
        }
    }
}
