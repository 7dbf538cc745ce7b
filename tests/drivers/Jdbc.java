// pgjdbc. Run as a single source file: java -cp /usr/share/java/postgresql.jar Jdbc.java
// Reads PGHOST PGPORT PGDATABASE PGUSER TOKEN SUB.

import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.postgresql.PGConnection;

public class Jdbc {
    static final String SUB = env("SUB");
    static final String NAP =
            "DO $$ BEGIN RAISE NOTICE 'asleep'; PERFORM pg_sleep(60); END $$";

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = connect()) {
            seesOnlyItsOwnRows(connection);
            runsATransaction(connection);
            isRefusedARowOfAnother(connection);
            cancelsAQuery(connection);
            copiesOut(connection);
            copiesIn(connection);
            seesOnlyItsOwnRows(connection);
        }
        System.out.println("ok pgjdbc");
    }

    static Connection connect() throws SQLException {
        var url = "jdbc:postgresql://%s:%s/%s"
                .formatted(env("PGHOST"), env("PGPORT"), env("PGDATABASE"));
        var properties = new Properties();
        properties.setProperty("user", env("PGUSER"));
        properties.setProperty("password", env("TOKEN"));
        properties.setProperty("prepareThreshold", "1"); // a named statement at the first use
        return DriverManager.getConnection(url, properties);
    }

    static void seesOnlyItsOwnRows(Connection connection) throws SQLException {
        var sql = "SELECT DISTINCT user_id FROM todos WHERE id > ?";
        try (var owners = connection.prepareStatement(sql)) {
            for (int turn = 0; turn < 2; turn++) {
                owners.setLong(1, 0);
                var rows = owners.executeQuery();
                check(rows.next(), "there is a row");
                equal(SUB, rows.getString(1));
                check(!rows.next(), "there is one owner");
            }
        }
    }

    static void runsATransaction(Connection connection) throws SQLException {
        long before = count(connection, "SELECT count(*) FROM todos");
        connection.setAutoCommit(false);
        try (var insert = connection.prepareStatement("INSERT INTO todos (task) VALUES (?)")) {
            insert.setString(1, "pgjdbc");
            insert.executeUpdate();
        }
        equal(before + 1, count(connection, "SELECT count(*) FROM todos"));
        connection.rollback();
        connection.setAutoCommit(true);
        equal(before, count(connection, "SELECT count(*) FROM todos"));
    }

    static void isRefusedARowOfAnother(Connection connection) {
        try {
            execute(connection,
                    "INSERT INTO todos (user_id, task) VALUES ('somebody else', 'pgjdbc')");
        } catch (SQLException error) {
            equal("42501", error.getSQLState());
            return;
        }
        throw new AssertionError("a row of somebody else was inserted");
    }

    static void cancelsAQuery(Connection connection) throws Exception {
        try (var nap = connection.createStatement()) {
            var ended = CompletableFuture.runAsync(() -> {
                try {
                    nap.execute(NAP);
                    throw new AssertionError("the nap was not cancelled");
                } catch (SQLException error) {
                    equal("57014", error.getSQLState());
                }
            });
            // The notice tells that the statement is running, so the request cannot be early.
            while (nap.getWarnings() == null && !ended.isDone()) {
                Thread.onSpinWait();
            }
            nap.cancel();
            ended.get();
        }
    }

    static void copiesOut(Connection connection) throws Exception {
        var out = new StringWriter();
        var copy = connection.unwrap(PGConnection.class).getCopyAPI();
        copy.copyOut("COPY todos (user_id) TO STDOUT", out);
        equal(Set.of(SUB), out.toString().lines().collect(Collectors.toSet()));
    }

    static void copiesIn(Connection connection) throws Exception {
        execute(connection, "CREATE TEMPORARY TABLE pocket (number int)");
        var numbers = IntStream.range(0, 10_000)
                .mapToObj(number -> number + "\n").collect(Collectors.joining());
        var copy = connection.unwrap(PGConnection.class).getCopyAPI();
        equal(10_000L, copy.copyIn("COPY pocket FROM STDIN", new StringReader(numbers)));
        equal(10_000L, count(connection, "SELECT count(DISTINCT number) FROM pocket"));
    }

    static void execute(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    static long count(Connection connection, String sql) throws SQLException {
        try (var statement = connection.createStatement(); var rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getLong(1);
        }
    }

    static void equal(Object expected, Object actual) {
        check(expected.equals(actual), "expected " + expected + ", got " + actual);
    }

    static void check(boolean fact, String what) {
        if (!fact) {
            throw new AssertionError(what);
        }
    }

    static String env(String name) {
        var value = System.getenv(name);
        check(value != null, "the environment lacks " + name);
        return value;
    }
}
