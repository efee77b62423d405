//! Pages for people: a heading, tables, nothing to load from elsewhere.

use std::fmt::Write;

use axum::extract::Query;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222}table{border-collapse:collapse}\
th,td{border-bottom:1px solid #ddd;padding:.3em .8em;text-align:left;vertical-align:top}th{background:#f4f4f4}\
td.number{text-align:right;font-variant-numeric:tabular-nums}code{font-size:12px}.bad{color:#b00020}nav a{margin-right:1em}";

/// What the asker wants to get.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    format: Option<String>,
}

/// One cell of a table.
pub(super) enum Cell {
    Text(String),
    Code(String),
    Number(Option<u64>),
    /// Something is wrong.
    Bad(String),
}

/// `json` or the page, whichever is asked for.
pub(super) fn answer(headers: &HeaderMap, Query(wanted): Query<Wanted>, json: Value, page: impl FnOnce() -> String) -> Response {
    let accepts_page =
        headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"));
    let is_page = wanted.format.as_deref().map_or(accepts_page, |format| format == "html");
    if is_page {
        return Html(page()).into_response();
    }
    ([(header::CONTENT_TYPE, "application/json")], json.to_string()).into_response()
}

/// A whole page around `body`.
pub(super) fn page(title: &str, body: &str) -> String {
    let links = ["targets", "service-discovery", "config", "metrics", "ready"];
    let links: String = links.iter().map(|name| format!("<a href=\"{name}\">{name}</a>")).collect();
    let title = escape(title);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} · tailwater-agent</title><style>{STYLE}</style></head>\
         <body><nav>{links}</nav><h1>{title}</h1>{body}</body></html>"
    )
}

pub(super) fn heading(text: &str) -> String {
    format!("<h2>{}</h2>", escape(text))
}

pub(super) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<Cell>>) -> String {
    let headings: String = headings.iter().map(|heading| format!("<th>{}</th>", escape(heading))).collect();
    let mut text = format!("<table><thead><tr>{headings}</tr></thead><tbody>");
    for row in rows {
        text.push_str("<tr>");
        row.iter().for_each(|cell| cell.write(&mut text));
        text.push_str("</tr>");
    }
    text.push_str("</tbody></table>");
    text
}

impl Cell {
    fn write(&self, out: &mut String) {
        let written = match self {
            Self::Text(text) => write!(out, "<td>{}</td>", escape(text)),
            Self::Code(text) => write!(out, "<td><code>{}</code></td>", escape(text)),
            Self::Number(Some(number)) => write!(out, "<td class=\"number\">{number}</td>"),
            Self::Number(None) => write!(out, "<td></td>"),
            Self::Bad(text) => write!(out, "<td class=\"bad\">{}</td>", escape(text)),
        };
        written.expect("writing to a string cannot fail");
    }
}

/// Text that means nothing to a browser.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_pods_is_no_markup() {
        let text = table(&["a"], [vec![Cell::Text("<script>\"&".to_owned()), Cell::Number(Some(7)), Cell::Number(None)]]);
        assert!(text.contains("&lt;script&gt;&quot;&amp;") && text.contains(">7<") && !text.contains("<script"), "{text}");
    }
}
