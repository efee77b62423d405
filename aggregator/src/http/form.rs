//! Parameters of a request: those of its form body, then those of its URL; of a repeated one the first counts.

use axum::body::Bytes;
use axum::http::{HeaderMap, header};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    pairs: Vec<(String, String)>,
}

/// Bytes of a form; a query text may have 128 KiB, escaped up to three times that.
pub const MAX_FORM_BYTES: usize = 1 << 20;

impl Form {
    /// `body` counts only if the headers say that it is a form.
    pub fn new(headers: &HeaderMap, query: Option<&str>, body: &Bytes) -> Self {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let body: &[u8] = if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") { body } else { &[] };
        let in_body = form_urlencoded::parse(body);
        let in_url = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self { pairs: in_body.chain(in_url).map(|(name, value)| (name.into_owned(), value.into_owned())).collect() }
    }

    /// Empty where the parameter is missing, which means the same everywhere.
    pub fn get(&self, name: &str) -> &str {
        self.pairs.iter().find(|(candidate, _)| candidate == name).map_or("", |(_, value)| value)
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_body_comes_before_the_url_and_the_first_counts() {
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, form_type)]);
        let body = Bytes::from_static(b"query=%7Ba%3D%22b+c%22%7D&match[]=x");
        let form = Form::new(&headers, Some("query=other&limit=5&match%5B%5D=y"), &body);
        assert_eq!((form.get("query"), form.get("limit"), form.get("none")), ("{a=\"b c\"}", "5", ""));
        assert_eq!(form.all("match[]").collect::<Vec<_>>(), ["x", "y"]);
    }

    #[test]
    fn a_body_of_another_type_is_not_read() {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        assert_eq!(Form::new(&headers, None, &Bytes::from_static(b"query=x")), Form::default());
    }
}
