//! Isolation, by attack: identities that share one server, of whom one tries to leave something for the next, or to find
//! what the one before has left.

mod endings;
mod failing;
mod fresh;
mod leftovers;
mod owing;
mod statements;

use pgusher_tests::{Message, Proxy, Raw, Stage};
use tokio_postgres::Client;

const BOB: &str = "bob authenticated pgusher_authenticated";

/// The rows that a client sees as its own.
const OWN: &str = "SELECT string_agg(DISTINCT user_id, ' ') FROM todos";

/// A proxy all of whose clients of a database share one server.
async fn narrow(stage: &Stage) -> Proxy {
    Proxy::builder(stage).set("pool.default_pool_size", 1).start().await
}

/// Runs this and asserts that it did not fail.
async fn run(client: &mut Raw, sql: &str) {
    let answer = client.query(sql).await;
    assert!(answer.iter().all(|message| message.tag != b'E'), "{sql}: {answer:?}");
}

/// The SQLSTATE of the answer; of one without an error, `00000`.
fn state(answer: &[Message]) -> String {
    answer.iter().find(|message| message.tag == b'E').map_or_else(|| "00000".to_owned(), Message::sqlstate)
}

/// A database of a test's own in which clients may create what they like: its name, and the superuser in it. Its function
/// `hide` does what no text of a client's shows, so that nothing keeps the client on its server.
async fn playground(stage: &Stage) -> (String, Client) {
    let (database, superuser) = stage.database().await;
    let script = format!(
        "GRANT CREATE ON DATABASE {database} TO authenticated; GRANT ALL ON SCHEMA public TO authenticated;
         CREATE FUNCTION hide(sql text) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE sql; END'"
    );
    superuser.batch_execute(&script).await.expect("a superuser may");
    (database, superuser)
}

/// Says by whom it was called.
const WITNESS: &str = "
    CREATE TABLE seen (who text, what text); GRANT INSERT ON seen TO authenticated;
    CREATE FUNCTION note(what text) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE who text := 'refused';
    BEGIN
        BEGIN who := coalesce(auth.user_id(), 'nobody'); EXCEPTION WHEN OTHERS THEN NULL; END;
        INSERT INTO seen VALUES (who, what);
    END $$;";

/// Who ran what is somebody else's, according to the witness.
async fn unlike(superuser: &Client) -> String {
    let wrong =
        "SELECT coalesce(string_agg(DISTINCT concat(what, ' ran as ', who), ', '), '') FROM seen WHERE who <> what";
    superuser.query_one(wrong, &[]).await.expect("a row").get(0)
}
