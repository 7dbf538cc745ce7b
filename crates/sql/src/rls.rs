//! The four policies of a table whose rows have an owner.

use std::fmt::Write as _;

use crate::quote::{identifier, literal};

/// A table whose rows each belong to one user.
pub struct OwnedTable<'a> {
    /// Its schema; none leaves the table to `search_path`.
    pub schema: Option<&'a str>,
    /// Its name.
    pub table: &'a str,
    /// The column with the owner's id.
    pub column: &'a str,
    /// Whether that column is a `uuid` rather than a text.
    pub uuid: bool,
    /// The role that the policies are for.
    pub role: &'a str,
}

impl OwnedTable<'_> {
    /// A script for psql: Row-Level Security on, the four policies, and the default and the index that they need.
    ///
    /// It fails, and changes nothing, where a policy of one of the names or another default is there.
    #[must_use]
    pub fn script(&self) -> String {
        let name = self.name();
        let column = identifier(self.column);
        let role = identifier(self.role);
        let reader = if self.uuid { "auth.uid()" } else { "auth.user_id()" };
        let owns = format!("((SELECT {reader}) = {column})");

        let mut sql = String::from("\\set ON_ERROR_STOP on\nBEGIN;\n\n");
        let _ = writeln!(
            sql,
            "-- From here on nobody sees a row that no policy shows. FORCE means the table's owner too, but not superusers\n\
             -- or roles with BYPASSRLS; those make dumps and load data.\n\
             ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;\n\n\
             -- A new row belongs to who inserts it.\n{}",
            self.default_sql(reader)
        );
        let _ = writeln!(sql, "-- Without it every policy reads the whole table.\n{}", self.index_sql());
        let _ = writeln!(
            sql,
            "-- The SELECT around the function lets Postgres ask once for a statement instead of once for a row. Where\n\
             -- an UPDATE has no check of its own, the new row must pass what the old one did."
        );
        for (verb, command, clause) in [
            ("create", "INSERT", "WITH CHECK"),
            ("view", "SELECT", "USING"),
            ("update", "UPDATE", "USING"),
            ("delete", "DELETE", "USING"),
        ] {
            let policy = identifier(&format!("{verb} {}", self.table));
            let _ = writeln!(sql, "CREATE POLICY {policy} ON {name} FOR {command} TO {role} {clause} {owns};");
        }
        sql.push_str("\nCOMMIT;\n");
        sql
    }

    fn name(&self) -> String {
        let table = identifier(self.table);
        self.schema.map_or_else(|| table.clone(), |schema| format!("{}.{table}", identifier(schema)))
    }

    /// A default that somebody else chose is an error, not ours to replace.
    fn default_sql(&self, reader: &str) -> String {
        let (name, column) = (self.name(), identifier(self.column));
        let (table_text, column_text) = (literal(&name), literal(self.column));
        let body = format!(
            "DECLARE\n  given text := (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d\n    \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum\n    \
             WHERE a.attrelid = {table_text}::pg_catalog.regclass AND a.attname = {column_text});\n\
             BEGIN\n  IF given IS NULL THEN\n    ALTER TABLE {name} ALTER COLUMN {column} SET DEFAULT {reader};\n  \
             ELSIF given <> '{reader}' THEN\n    \
             RAISE EXCEPTION 'the column has another default: %', given;\n  END IF;\nEND"
        );
        dollars(&body)
    }

    fn index_sql(&self) -> String {
        let (name, column) = (self.name(), identifier(self.column));
        let (table_text, column_text) = (literal(&name), literal(self.column));
        let body = format!(
            "BEGIN\n  IF NOT EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a\n    \
             ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]\n    \
             WHERE i.indrelid = {table_text}::pg_catalog.regclass AND a.attname = {column_text}\n      \
             AND i.indisvalid AND i.indpred IS NULL) THEN\n    \
             CREATE INDEX ON {name} ({column});\n  END IF;\nEND"
        );
        dollars(&body)
    }
}

fn dollars(body: &str) -> String {
    let mut tag = "$$".to_owned();
    while body.contains(&tag) {
        tag.insert(1, '_');
    }
    format!("DO {tag}\n{body}\n{tag};\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_are_those_of_the_guide_in_the_fast_form() {
        let table = OwnedTable { schema: None, table: "todos", column: "user_id", uuid: false, role: "authenticated" };
        let script = table.script();
        let view = r#"CREATE POLICY "view todos" ON "todos" FOR SELECT TO "authenticated" USING ((SELECT auth.user_id()) = "user_id");"#;
        assert!(script.contains(view), "{script}");
        assert_eq!(script.matches("CREATE POLICY").count(), 4);
    }

    #[test]
    fn names_are_quoted_wherever_they_stand() {
        let table = OwnedTable { schema: Some("My App"), table: "x\"; $$ --", column: "o'c", uuid: true, role: "r\"" };
        let script = table.script();
        assert!(script.contains(r#"ALTER TABLE "My App"."x""; $$ --" ENABLE"#), "{script}");
        assert!(script.contains(r#"((SELECT auth.uid()) = "o'c")"#), "{script}");
        assert!(script.contains("DO $_$\n") && script.contains("attname = 'o''c'"), "{script}");
    }
}
