CREATE TABLE todos (id bigserial, user_id text NOT NULL DEFAULT auth.user_id(), task text NOT NULL);
ALTER TABLE todos ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON todos USING ((SELECT auth.user_id()) = user_id) WITH CHECK ((SELECT auth.user_id()) = user_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON todos TO authenticated;
GRANT USAGE ON SEQUENCE todos_id_seq TO authenticated;
INSERT INTO todos (user_id, task) SELECT CASE n % 2 WHEN 0 THEN 'alice' ELSE 'bob' END, 'task ' || n
  FROM generate_series(1, 20000) n;
ANALYZE todos;
