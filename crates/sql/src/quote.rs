//! Names and texts within SQL.

/// A string constant of SQL that means the same under any `standard_conforming_strings`.
pub(crate) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') {
        return format!("E'{}'", quoted.replace('\\', "\\\\"));
    }
    format!("'{quoted}'")
}

/// An array of texts.
pub(crate) fn array<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<_> = texts.into_iter().map(literal).collect();
    format!("ARRAY[{}]::text[]", items.join(", "))
}

/// A name, quoted, so that it is never a keyword and keeps its case.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A DO block of declarations and a body, between dollar signs that do not occur in it. Run it with names bound to
/// `pg_catalog`.
pub(crate) fn block(declarations: &[(&str, &str, &str)], body: &str) -> String {
    let declared: String =
        declarations.iter().map(|(name, kind, value)| format!("  {name} {kind} := {value};\n")).collect();
    let body = format!("<<given>>\nDECLARE\n{declared}BEGIN\n{}END", nested(body));
    let mut tag = "$pgusher$".to_owned();
    while body.contains(&tag) {
        tag.insert(1, '_');
    }
    format!("SET LOCAL search_path = pg_catalog, pg_temp;\nDO {tag}\n{body}\n{tag};\n")
}

/// A block within a block ends with a semicolon.
fn nested(body: &str) -> String {
    format!("{};\n", body.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_doubles_quotes_and_escapes_backslashes_only_when_it_says_so() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\' b"), r"E'a\\'' b'");
        assert_eq!(array(["a", "b'"]), "ARRAY['a', 'b''']::text[]");
    }

    #[test]
    fn a_name_is_always_quoted() {
        assert_eq!(identifier(r#"a"b"#), r#""a""b""#);
    }

    #[test]
    fn a_block_ends_where_its_body_does() {
        let tricky = literal("$pgusher$; DROP TABLE t; $_pgusher$");
        let block = block(&[("served", "text", &tricky)], "BEGIN\n  NULL;\nEND\n");
        assert!(block.contains("DO $__pgusher$\n"), "{block}");
        assert_eq!(block.matches("$__pgusher$").count(), 2, "{block}");
    }
}
