use super::Reader;
use crate::effect::{fuzz_effects, read};

/// Texts with a trap at every cut.
const TRICKY: &[&str] = &[
    "SET a.b = 'it''s' -- c\n; SET /* ; */ \"D\"\"e\" TO E'\\'\\\\'; RESET a;",
    "DO $do$BEGIN EXECUTE 'SET a.b = ''$d$'''; $d$;$do $do$; LISTEN é; SELECT $1$2;",
    "DO E'BEGIN\\n EXECUTE $$LISTEN a$$; \\x41'; SELECT U&'\\0041', U&\"a\" , u & 'x', e'a'\n'b\\'c', n'x' - - 1 / / 2",
    "SELECT set_config('a', $x$,$x$, 't'), set_config('b', 'c', 'true ') /* /* */ ; LISTEN */ --\r; LOAD 'x'",
    "PREPARE TRANSACTION 'a'; PREPARE transaction AS SELECT 1; CREATE TEMP TABLE \"a\"; $; $a; 12e5x;DEALLOCATE \"a\"\"\"",
    "CREATE FUNCTION f() AS $a$ IF x THEN SET ROLE y; ELSE nextval('a') $b$ $a$ LANGUAGE sql; SET b = $a$x$a$   ",
    "SET a = $ttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt$ ; LISTEN a",
    "SELECT E'é\\', 'x', nextval('s'), pg_temp_000000000000000000000000000000000000000000000000000000000000000.t",
];

#[test]
fn it_makes_no_difference_where_a_part_ends() {
    for text in TRICKY.iter().map(|text| text.as_bytes()) {
        // Every text is cut short everywhere too: what is open at the end is found whole.
        for end in 0..=text.len() {
            let text = &text[..end];
            let whole = read(text);
            for cut in 0..=end {
                let mut reader = Reader::default();
                reader.read(&text[..cut]);
                reader.read(&text[cut..]);
                assert_eq!(reader.finish(), whole, "{} at {cut}", String::from_utf8_lossy(text));
            }
        }
    }
}

#[test]
fn bytes_that_are_no_sql_are_no_matter() {
    // A linear congruential generator, with bytes that mean something more often than not.
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let bits: [&[u8]; 24] = [
        b"'",
        b"\"",
        b"$",
        b"$a$",
        b"\\",
        b";",
        b"(",
        b")",
        b"--",
        b"/*",
        b"*/",
        b"\n",
        b" ",
        b",",
        b"E'",
        b"U&",
        b"SET ",
        b"a.b=",
        b"DO ",
        b"EXECUTE ",
        b"set_config",
        b"true",
        b"\xe9",
        b"\x00",
    ];
    for _ in 0..2000 {
        let len = next() % 40;
        let text: Vec<u8> = (0..len).flat_map(|_| bits[next() % bits.len()]).copied().collect();
        fuzz_effects(&[&[next() as u8], text.as_slice()].concat());
    }
}

#[test]
fn long_statements_are_read_alike_in_parts() {
    for (spaces, letters) in [(0, 4085), (0, 4086), (0, 4087), (5000, 1), (1, 9000)] {
        let text = format!("SET a.b={}'{}'{0};RESET x", " ".repeat(spaces), "x".repeat(letters));
        for size in [1, 7, 4096] {
            let mut reader = Reader::default();
            text.as_bytes().chunks(size).for_each(|part| reader.read(part));
            assert_eq!(reader.finish(), read(text.as_bytes()), "{spaces} {letters} {size}");
        }
    }
}
