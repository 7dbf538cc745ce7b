//! Random traces of the protocol. A seed is a trace: what is sent depends on nothing else, so neither on what was answered
//! nor on the traces before.

use std::fmt;

use pgusher_tests::request::{
    bind_named, close_named, copy_data, copy_done, copy_fail, describe_named, execute_named, flush, function_call,
    parse_named, query, sync,
};
use pgusher_tests::{Random, message};

use super::sql::{Sql, in_schema, literal, to_prepare, with_parameter};

/// Names of prepared statements and portals; the empty one is the unnamed.
const NAMES: [&str; 4] = ["", "a", "b", "c"];

/// A message, or what belongs together, in bytes and for people.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) bytes: Vec<u8>,
    text: String,
}

/// What is sent in one write and answered before the next.
#[derive(Clone, Default)]
pub(crate) struct Flight {
    pub(crate) steps: Vec<Step>,
    /// How many ReadyForQuery answer it: one for each Query, FunctionCall and Sync.
    pub(crate) ready: usize,
    /// Whether it ends inside of a batch, with a Flush behind a row that says [`MARK`].
    pub(crate) cut: bool,
}

/// A session's worth of flights.
pub(crate) struct Trace {
    pub(crate) flights: Vec<Flight>,
}

/// What the last row of a flight says that ends with a Flush.
pub(crate) const MARK: &str = "the end of a flight";

impl Trace {
    /// The trace of this seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = Random(seed);
        let sql = Sql::choose(&mut random);
        let mut writer = Writer { random, sql, flights: vec![Flight::default()] };
        for _ in 0..writer.random.below(8) + 2 {
            for _ in 0..writer.random.below(5) + 1 {
                writer.act();
            }
            writer.end();
        }
        // Whatever is open, a transaction or a change of settings, has to show here at the latest.
        writer.simple("ROLLBACK");
        super::sql::SETTINGS.iter().for_each(|(name, _)| writer.simple(&format!("SHOW {name}")));
        writer.simple("SELECT current_user, session_user");
        Self { flights: writer.flights }
    }
}

struct Writer {
    random: Random,
    sql: Sql,
    flights: Vec<Flight>,
}

impl Writer {
    /// One thing that drivers do.
    fn act(&mut self) {
        match self.random.below(16) {
            0..4 => self.queries(),
            4..7 => self.batch(),
            7..9 => self.prepare(),
            9..12 => self.execute_prepared(),
            12 => self.transaction(),
            13 => self.copy_in(),
            14 => self.large_object(),
            _ => self.close(),
        }
    }

    /// Ends a flight and begins the next.
    fn end(&mut self) {
        self.flights.push(Flight::default());
    }

    fn flight(&mut self) -> &mut Flight {
        self.flights.last_mut().expect("there is one from the beginning")
    }

    fn step(&mut self, text: String, bytes: Vec<u8>) {
        self.flight().steps.push(Step { bytes, text });
    }

    /// The same where a ReadyForQuery answers it.
    fn ready(&mut self, text: String, bytes: Vec<u8>) {
        self.step(text, bytes);
        self.flight().ready += 1;
    }

    fn simple(&mut self, sql: &str) {
        self.ready(format!("Query {sql:?}"), query(sql));
    }

    /// A Query with one statement or several.
    fn queries(&mut self) {
        let count = if self.random.one_in(2) { 1 } else { self.random.below(4) + 1 };
        let mut statements: Vec<_> = (0..count).map(|_| self.sql.any(&mut self.random)).collect();
        if count > 1 {
            // In a pool for transactions it has another name, which is put in where that is all.
            statements.retain(|statement| statement != "DEALLOCATE a");
        }
        self.simple(&statements.join("; "));
    }

    /// Several statements up to a Sync, sent in one flight or two.
    fn batch(&mut self) {
        for _ in 0..self.random.below(4) + 1 {
            let sql = self.sql.any(&mut self.random);
            self.parse("", &sql);
            self.bind_and_execute("", &[]);
            match self.random.below(12) {
                0 => self.step("Flush".to_owned(), flush()),
                1 => self.cut(),
                2 => self.sync(),
                _ => {}
            }
        }
        self.sync();
    }

    /// Ends the flight inside of a batch, by a Flush behind a row that marks it.
    fn cut(&mut self) {
        self.parse("", &format!("SELECT {}", literal(MARK)));
        self.step("Bind".to_owned(), bind_named("", "", &[]));
        self.step("Execute".to_owned(), execute_named("", 0));
        self.step("Flush".to_owned(), flush());
        self.flight().cut = true;
        self.end();
    }

    fn parse(&mut self, name: &str, sql: &str) {
        self.step(format!("Parse {name:?} {sql:?}"), parse_named(name, sql));
    }

    fn sync(&mut self) {
        self.ready("Sync".to_owned(), sync());
    }

    /// Binds a portal to a statement, looks at it perhaps, and runs it to its end or a part of it.
    fn bind_and_execute(&mut self, statement: &str, parameters: &[&str]) {
        let portal = if self.random.one_in(4) { *self.random.pick(&NAMES) } else { "" };
        let bind = bind_named(portal, statement, parameters);
        self.step(format!("Bind portal {portal:?} to {statement:?} {parameters:?}"), bind);
        if self.random.one_in(2) {
            self.step(format!("Describe portal {portal:?}"), describe_named(b'P', portal));
        }
        let rows = if self.random.one_in(3) { self.random.below(3) as u32 } else { 0 };
        for _ in 0..self.random.below(2) + 1 {
            self.step(format!("Execute portal {portal:?}, {rows} rows"), execute_named(portal, rows));
            if rows == 0 {
                break;
            }
        }
    }

    /// Parses by name, whether there is one of that name or not; in a transaction of its own or one with its use.
    fn prepare(&mut self) {
        let name = *self.random.pick(&NAMES);
        if self.random.one_in(3) {
            self.step(format!("Close statement {name:?}"), close_named(b'S', name));
        }
        let sql = match self.random.one_in(2) {
            true => self.sql.any(&mut self.random),
            // Of the unnamed statement it is not noticed that its table was altered.
            false if name.is_empty() => with_parameter(&mut self.random),
            false => to_prepare(&mut self.random),
        };
        // A statement that is described under another search_path than it was prepared under is prepared again perhaps, and
        // then it has to find its tables.
        let sql = if name.is_empty() { sql } else { in_schema(&sql) };
        self.parse(name, &sql);
        if self.random.one_in(2) {
            self.step(format!("Describe statement {name:?}"), describe_named(b'S', name));
        }
        if self.random.one_in(3) {
            self.bind_and_execute(name, &[]);
        }
        self.sync();
    }

    /// Uses names, whether there is something of that name or not.
    fn execute_prepared(&mut self) {
        for _ in 0..self.random.below(3) + 1 {
            let name = *self.random.pick(&NAMES);
            if self.random.one_in(4) {
                self.step(format!("Describe statement {name:?}"), describe_named(b'S', name));
            }
            let parameters: &[&str] = if self.random.one_in(2) { &["2"] } else { &[] };
            self.bind_and_execute(name, parameters);
            if self.random.one_in(3) {
                self.sync();
            }
        }
        self.sync();
    }

    /// A transaction in one go, by both protocols.
    fn transaction(&mut self) {
        self.simple("BEGIN");
        self.queries();
        self.batch();
        let end = *self.random.pick(&["COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "SELECT 1"]);
        self.simple(end);
        if self.random.one_in(4) {
            // Names of prepared transactions are the whole server's, so each side has its own.
            self.simple("BEGIN; INSERT INTO items VALUES (50, 'prepared'); PREPARE TRANSACTION 'SIDE'");
            let end = *self.random.pick(&["COMMIT", "ROLLBACK"]);
            self.simple("ROLLBACK");
            self.simple(&format!("{end} PREPARED 'SIDE'"));
        }
    }

    /// COPY FROM STDIN: to its end, with a row that is none, or given up.
    fn copy_in(&mut self) {
        let sql = "COPY items FROM STDIN";
        let extended = self.random.one_in(3);
        if extended {
            self.parse("", sql);
            self.step("Bind".to_owned(), bind_named("", "", &[]));
            self.step("Execute".to_owned(), execute_named("", 0));
        } else {
            self.ready(format!("Query {sql:?}"), query(sql));
        }
        for number in 0..self.random.below(4) {
            let row =
                if self.random.one_in(6) { "no number\tx\n".to_owned() } else { format!("{}\tcopied\n", 60 + number) };
            self.step(format!("CopyData {row:?}"), copy_data(row));
        }
        if self.random.one_in(4) {
            self.step("CopyFail".to_owned(), copy_fail());
        } else {
            self.step("CopyDone".to_owned(), copy_done());
        }
        if extended {
            self.sync();
        }
    }

    /// A large object by FunctionCall, whose functions have had these numbers since there are large objects.
    fn large_object(&mut self) {
        const FUNCTIONS: [(&str, u32); 4] =
            [("lo_create", 715), ("lo_open", 952), ("lowrite", 955), ("lo_unlink", 964)];
        let begins = !self.random.one_in(4);
        if begins {
            self.simple("BEGIN");
        }
        for _ in 0..self.random.below(4) + 1 {
            let (name, oid) = *self.random.pick(&FUNCTIONS);
            let (object, mode, descriptor) = (4242_u32.to_be_bytes(), 0x60000_u32.to_be_bytes(), [0; 4]);
            let parameters: &[&[u8]] = match name {
                "lo_open" => &[&object, &mode],
                "lowrite" => &[&descriptor, b"bytes"],
                _ => &[&object],
            };
            self.ready(format!("FunctionCall {name}"), function_call(oid, parameters));
        }
        if begins {
            self.simple("ROLLBACK");
        }
    }

    fn close(&mut self) {
        let (kind, name) = (*self.random.pick(b"SP"), *self.random.pick(&NAMES));
        self.step(format!("Close {:?} {name:?}", char::from(kind)), close_named(kind, name));
        if self.random.one_in(6) {
            self.step("Describe of neither".to_owned(), message(b'D', b"X\0"));
        }
        self.sync();
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, flight) in self.flights.iter().enumerate() {
            writeln!(f, "flight {number}:")?;
            flight.steps.iter().try_for_each(|step| writeln!(f, "  {}", step.text))?;
        }
        Ok(())
    }
}
