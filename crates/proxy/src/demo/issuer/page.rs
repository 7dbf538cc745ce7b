//! The pages that people see. Nothing in them runs, and nobody may show them in a frame of theirs.

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Letters of the longest name.
pub(super) const MAX_NAME: usize = 100;

/// No script, no other page's frame, no address of ours told to anybody, and nothing kept.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

const STYLE: &str = "\
body { font: 1.1em/1.5 system-ui, sans-serif; max-width: 24em; margin: 15vh auto; padding: 0 1em }
button, input { font: inherit; padding: .3em .8em }
form { margin: 1em 0 }";

/// The page on which somebody says who they are. Its forms go where it came from, with the query that it came by, and
/// from there to a page of `origin`, the application's.
pub(super) fn login(origin: &str) -> Response {
    let body = format!(
        r#"<h1>Who are you?</h1>
<p>For {}. This is a demo: nobody asks for a password.</p>
<form method="post"><button name="login" value="alice">alice</button> <button name="login" value="bob">bob</button></form>
<form method="post"><input name="login" aria-label="Another name" placeholder="another name" maxlength="{MAX_NAME}" required>
<button>Log in</button></form>"#,
        escaped(origin)
    );
    // Browsers apply `form-action` to where a form is redirected, too.
    page(StatusCode::OK, &body, &format!("'self' {origin}"))
}

/// A page with one sentence.
pub(super) fn sentence(status: StatusCode, sentence: &str) -> Response {
    page(status, &format!("<p>{}</p>", escaped(sentence)), "'none'")
}

fn page(status: StatusCode, body: &str, form_action: &str) -> Response {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<title>Demo login</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<style>{STYLE}</style>\n{body}\n</html>\n"
    );
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; \
         form-action {form_action}"
    );
    (status, HEADERS, [(header::CONTENT_SECURITY_POLICY, policy)], page).into_response()
}

/// A text as HTML shows it, inside an element or a quoted attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_no_markup() {
        assert_eq!(escaped("<a href=\"'&\">"), "&lt;a href=&quot;&#39;&amp;&quot;&gt;");
    }

    #[test]
    fn no_page_runs_anything_or_is_shown_in_a_frame() {
        for page in [login("http://127.0.0.1:3000"), sentence(StatusCode::OK, "Done.")] {
            let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
            assert_eq!(page.headers()[header::X_FRAME_OPTIONS], "DENY");
        }
    }
}
