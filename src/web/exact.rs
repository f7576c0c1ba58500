//! Showing exactly what will be sent.
//!
//! Law: nothing is cut, and everything can be seen: what has no shape of its own on a screen is
//! written out and marked, so that it cannot be taken for text that looks the same.

use maud::{Markup, html};

use crate::base::visible;

/// Bytes as they are, with what cannot be seen written out and marked.
pub(super) fn exact(bytes: &[u8]) -> Markup {
    let mut pieces: Vec<(bool, String)> = Vec::new();
    let mut push = |is_marked: bool, text: &str| match pieces.last_mut() {
        Some((was_marked, piece)) if *was_marked == is_marked => piece.push_str(text),
        _ => pieces.push((is_marked, text.to_owned())),
    };
    for chunk in bytes.utf8_chunks() {
        let mut buffer = [0; 4];
        for c in chunk.valid().chars() {
            let own: &str = c.encode_utf8(&mut buffer);
            let shown = visible(own.as_bytes());
            push(shown != own, &shown);
        }
        if !chunk.invalid().is_empty() {
            push(true, &visible(chunk.invalid()));
        }
    }
    html! {
        @for (is_marked, piece) in &pieces {
            @if *is_marked { mark title="a character that cannot be seen" { (piece) } } @else { (piece) }
        }
    }
}

/// The same of a text.
pub(super) fn text(text: &str) -> Markup {
    exact(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_marked_and_markup_is_text() {
        assert_eq!(
            exact("<b>a\u{202e}\u{200b}b</b>".as_bytes()).into_string(),
            "&lt;b&gt;a<mark title=\"a character that cannot be seen\">\\u{202e}\\u{200b}</mark>b&lt;/b&gt;"
        );
        assert_eq!(exact(b"\\u{202e}").into_string(), "\\u{202e}", "text that looks like it is not marked");
        assert!(exact(b"a\xffb").into_string().contains("\\xff</mark>b"));
        assert_eq!(exact(&vec![b'x'; 100_000]).into_string().len(), 100_000);
    }
}
