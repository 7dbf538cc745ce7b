import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Properties;

/**
 * pgjdbc, which prepares a statement anew if its table was altered.
 *
 * Reads PGHOST PGPORT PGDATABASE PGUSER TOKEN OWNER_URL and OTHER, the token of somebody who takes the one server there is.
 */
public class Altered {
    public static void main(String[] arguments) throws SQLException {
        try (Connection mine = connect("TOKEN"); Connection others = connect("OTHER"); Connection owner = owner()) {
            try (PreparedStatement read = mine.prepareStatement("SELECT * FROM todos WHERE id > ?")) {
                read.setLong(1, 0);
                // From the fifth time on it has a name.
                for (int time = 0; time < 8; time++) {
                    columns(read);
                }
                int before = columns(read);
                others.createStatement().execute("SELECT 1");
                owner.createStatement().execute("ALTER TABLE todos ADD more int DEFAULT 7");
                int after = columns(read);
                if (after != before + 1) {
                    throw new AssertionError(before + " columns, then " + after);
                }
            }
        }
        System.out.println("ok pgjdbc");
    }

    static int columns(PreparedStatement statement) throws SQLException {
        try (ResultSet rows = statement.executeQuery()) {
            rows.next();
            return rows.getMetaData().getColumnCount();
        }
    }

    static Connection connect(String token) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("password", System.getenv(token));
        return DriverManager.getConnection(url(), properties);
    }

    static Connection owner() throws SQLException {
        String[] parts = System.getenv("OWNER_URL").split("[/:@]+");
        return DriverManager.getConnection(
                "jdbc:postgresql://" + parts[3] + ":" + parts[4] + "/" + parts[5], parts[1], parts[2]);
    }

    static String url() {
        return "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
                + System.getenv("PGDATABASE");
    }
}
