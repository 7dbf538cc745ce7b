use tokio_postgres::types::Type;

use super::{LISTS, OBJECTS, RAW, complete, description, message, ready, statement};
use crate::http::sql::results::{Layout, Progress, Results, Style};

/// How one answer is asked for, and the answer.
struct Recorded {
    styles: Vec<Style>,
    batch: bool,
    answer: Vec<u8>,
}

impl Recorded {
    fn single(style: Style, answer: &[&[u8]]) -> Self {
        Self { styles: vec![style], batch: false, answer: [&answer.concat(), &ready()[..]].concat() }
    }

    fn batch(styles: &[Style], answer: &[&[u8]]) -> Self {
        Self { styles: styles.to_vec(), batch: true, answer: [&answer.concat(), &ready()[..]].concat() }
    }

    fn results(&self, layout: Layout) -> Results {
        match self.batch {
            true => Results::batch(self.styles.clone(), layout),
            false => Results::single(self.styles[0], layout),
        }
    }

    fn read<'a>(&self, parts: impl Iterator<Item = &'a [u8]>, layout: Layout) -> (Progress, String) {
        let (mut results, mut out, mut end) = (self.results(layout), Vec::new(), Progress::More);
        for part in parts {
            assert_eq!(end, Progress::More);
            end = results.read(part, &mut out).unwrap();
        }
        (end, String::from_utf8(out).unwrap())
    }
}

fn recorded() -> Vec<Recorded> {
    let wide = [("a", 16), ("b", 21), ("c", 701), ("d", 114), ("e", 1009), ("é\"", 25)];
    let values: [Option<&[u8]>; 6] = [
        Some(b"t"),
        Some(b"-7"),
        Some(b"1e+20"),
        Some(b"{\n\"a\": \"\xc3\xa9\"}"),
        Some("[0:3]={NULL,NULLS,\"a\\\"\\\\é\",{}}".as_bytes()),
        Some("a\"\u{1}é😀\n and so on, for longer than a block of sixteen bytes 😀".as_bytes()),
    ];
    let plain = statement(&wide, &[&values, &[None; 6]], "SELECT 2");
    let begin = [message(b'1', b""), message(b'2', b""), complete("BEGIN")].concat();
    let commit = [message(b'1', b""), message(b'2', b""), complete("COMMIT")].concat();
    let none = [message(b'2', b""), message(b'n', b""), complete("INSERT 0 1")].concat();
    let error = message(b'E', b"SERROR\0C22012\0Mdivision by zero\0\0");
    let notice = message(b'N', b"SNOTICE\0C00000\0Mhello\0\0");
    let setting = message(b'S', b"TimeZone\0UTC\0");
    let dates = statement(&[("t", Type::DATE_ARRAY.oid())], &[&[Some(b"{2024-01-01,NULL}")]], "SELECT 1");
    vec![
        Recorded::single(OBJECTS, &[&plain]),
        Recorded::single(LISTS, &[&plain]),
        Recorded::single(RAW, &[&plain]),
        Recorded::single(LISTS, &[&dates]),
        Recorded::single(OBJECTS, &[&statement(&[], &[&[], &[]], "SELECT 2")]),
        Recorded::single(OBJECTS, &[&message(b'1', b""), &none]),
        Recorded::single(OBJECTS, &[&message(b'2', b""), &message(b'n', b""), &message(b'I', b"")]),
        Recorded::single(OBJECTS, &[&notice, &setting, &plain, &notice]),
        Recorded::single(OBJECTS, &[&error, &notice]),
        Recorded::single(OBJECTS, &[&message(b'2', b""), &description(&wide), &error]),
        Recorded::batch(&[OBJECTS, LISTS, RAW], &[&begin, &plain, &none, &dates, &commit]),
        Recorded::batch(&[OBJECTS, LISTS], &[&begin, &plain, &error]),
        Recorded::batch(&[OBJECTS], &[&begin, &none, &error]),
        Recorded::batch(&[], &[&begin, &commit]),
    ]
}

#[test]
fn it_makes_no_difference_where_an_answer_is_cut() {
    for recorded in recorded() {
        for layout in [Layout::Document, Layout::Lines] {
            let whole = recorded.read([&recorded.answer[..]].into_iter(), layout);
            assert_ne!(whole.0, Progress::More);
            for cut in 0..recorded.answer.len() {
                let (head, tail) = recorded.answer.split_at(cut);
                assert_eq!(recorded.read([head, tail].into_iter(), layout), whole, "cut at {cut}");
            }
            for size in 1..20 {
                assert_eq!(recorded.read(recorded.answer.chunks(size), layout), whole, "in parts of {size}");
            }
        }
    }
}

#[test]
fn whatever_a_server_sends_is_read_without_panic() {
    for recorded in recorded() {
        for how in [0, 1 << 3, 0x34, 0x3d] {
            let mut input = [&[how], &recorded.answer[..]].concat();
            for at in 1..input.len() {
                for flip in [0x01, 0x80, 0xff, input[at]] {
                    input[at] ^= flip;
                    super::super::fuzz_results(&input);
                    input[at] ^= flip;
                }
            }
        }
    }
}

#[test]
fn a_row_of_any_size_takes_no_room() {
    const SIZE: u32 = 100 << 20;
    const PART: usize = 32 << 10;
    for (oid, open, close) in [(Type::TEXT, "", ""), (Type::JSON, "\"", "\""), (Type::TEXT_ARRAY, "{", "}")] {
        let mut results = Results::single(OBJECTS, Layout::Lines);
        let mut out = Vec::new();
        results.read(&description(&[("a", oid.oid())]), &mut out).unwrap();
        let head = [&b"D"[..], &(4 + 6 + SIZE).to_be_bytes(), b"\0\x01", &SIZE.to_be_bytes(), open.as_bytes()].concat();
        results.read(&head, &mut out).unwrap();
        let part = [b'x'; PART];
        let (mut left, mut written) = (SIZE as usize - open.len() - close.len(), 0);
        while left > 0 {
            out.clear();
            let size = left.min(PART);
            results.read(&part[..size], &mut out).unwrap();
            (left, written) = (left - size, written + out.len());
        }
        out.clear();
        let tail = [close.as_bytes(), &complete("SELECT 1"), &ready()].concat();
        assert_eq!(results.read(&tail, &mut out), Ok(Progress::Done));
        assert!(written >= SIZE as usize - 8 && out.capacity() <= 2 * PART, "{oid}: {}", out.capacity());
    }
}
