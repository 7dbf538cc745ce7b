use super::*;

const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// A frame as clients send it; the first byte is as it is.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ ..126 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => bytes.extend([&[0xfe][..], &(length as u16).to_be_bytes()].concat()),
        length => bytes.extend([&[0xff][..], &(length as u64).to_be_bytes()].concat()),
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// All that is in bytes that come in pieces of this size: the data, and the rest.
fn read(bytes: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<Part>), Violation> {
    let (mut incoming, mut read, mut data, mut others) = (Incoming::default(), Vec::new(), Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        read.extend_from_slice(piece);
        loop {
            let (taken, part) = incoming.next(&mut read)?;
            let all = read.drain(..taken).collect::<Vec<_>>();
            match part {
                Some(Part::Data(length)) => data.extend_from_slice(&all[taken - length..]),
                Some(part) => others.push(part),
                None => break,
            }
        }
    }
    assert!(read.is_empty(), "all of it is taken: {read:?}");
    Ok((data, others))
}

fn code_of(bytes: &[u8]) -> u16 {
    read(bytes, bytes.len()).expect_err("a violation").code.into()
}

#[test]
fn data_is_the_same_wherever_it_is_cut() {
    let large: Vec<u8> = (0..70_000_u32).map(|number| number as u8).collect();
    let bytes = [
        frame(0x82, b"abcde"),
        frame(0x82, b""),
        frame(0x02, &large),
        frame(0x89, b"who?"),
        frame(0x00, &large[..300]),
        frame(0x8a, b""),
        frame(0x80, b"end"),
        frame(0x88, &[0x03, 0xe8, b'!']),
    ]
    .concat();
    let wanted = [b"abcde", &large[..], &large[..300], b"end"].concat();
    for piece in [1, 2, 3, 5, 13, 139, 1000, 16_384, bytes.len()] {
        let (data, others) = read(&bytes, piece).expect("frames");
        assert!(data == wanted, "cut every {piece} bytes");
        assert_eq!(others, [Part::Ping(b"who?"[..].into()), Part::Pong, Part::Close(Some(CloseCode::Normal))]);
    }
}

#[test]
fn data_goes_on_before_its_frame_is_whole() {
    let mut bytes = frame(0x82, &[7; 1 << 20]);
    bytes.truncate(1000);
    let (taken, part) = Incoming::default().next(&mut bytes).expect("a frame");
    assert_eq!((taken, part), (1000, Some(Part::Data(1000 - 14))));
    assert_eq!(bytes[14..], [7; 1000 - 14]);
}

#[test]
fn a_client_may_close_without_a_word() {
    assert_eq!(read(&frame(0x88, b""), 1), Ok((vec![], vec![Part::Close(None)])));
}

#[test]
fn what_is_no_frame_of_a_client_is_refused() {
    let unmasked = vec![0x82, 1, b'x'];
    let endless = [&[0x82, 0xff, 0x80][..], &[0; 7], &MASK].concat();
    let within = |second| [frame(0x02, b"x"), frame(second, b"y")].concat();
    let protocol = [
        ("no mask", unmasked),
        ("a length of 64 bits", endless),
        ("compressed", frame(0xc2, b"x")),
        ("a reserved bit", frame(0xa2, b"x")),
        ("another", frame(0x92, b"x")),
        ("data of no kind", frame(0x83, b"x")),
        ("control of no kind", frame(0x8b, b"x")),
        ("a ping in parts", frame(0x09, b"x")),
        ("a ping that is too long", frame(0x89, &[0; 126])),
        ("nothing to go on with", frame(0x80, b"x")),
        ("binary in binary", within(0x82)),
        ("text in binary", within(0x81)),
        ("half a code", frame(0x88, &[3])),
        ("a code that is never sent", frame(0x88, &1006_u16.to_be_bytes())),
        ("a code that is none", frame(0x88, &999_u16.to_be_bytes())),
    ];
    for (what, bytes) in protocol {
        assert_eq!(code_of(&bytes), 1002, "{what}");
    }
    assert_eq!(code_of(&frame(0x81, b"SELECT 1")), 1003);
    assert_eq!(code_of(&frame(0x88, &[0x03, 0xe8, 0xff])), 1007);
}

#[test]
fn a_header_of_ours_is_as_short_as_it_can_be() {
    let made = |length| {
        let mut space = [0; HEADER];
        let begin = write_header(OpCode::Data(Data::Binary), length, &mut space);
        space[begin..].to_vec()
    };
    assert_eq!(made(0), [0x82, 0]);
    assert_eq!(made(125), [0x82, 125]);
    assert_eq!(made(126), [0x82, 126, 0, 126]);
    assert_eq!(made(0xffff), [0x82, 126, 0xff, 0xff]);
}
