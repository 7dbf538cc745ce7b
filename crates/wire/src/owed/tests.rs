//! Traces of what client and server send, and what is owed after them.

use super::*;

/// Plays a trace: `>` before what the client sends, `!` before what we inject, `<` before what the server
/// answers, `?` before what we inject for one of the client's requests; `Z` carries its status. Returns what the client gets to see.
fn play(owed: &mut Owed, trace: &str) -> String {
    let mut seen = String::new();
    for step in trace.split_whitespace() {
        let bytes = step.as_bytes();
        match bytes[0] {
            b'>' => owed.sent(Tag(bytes[1]), Answer::Forward),
            b'!' => owed.sent(Tag(bytes[1]), Answer::Swallow),
            b'?' => owed.sent(Tag(bytes[1]), Answer::SwallowSuccess),
            _ => {
                if owed.received(Tag(bytes[1]), bytes.get(2).copied()) == Answer::Forward {
                    seen.push(bytes[1] as char);
                }
            }
        }
        let to_end = owed.queue.iter().filter(|entry| entry.request.ends_turn()).count() as u64;
        assert_eq!(owed.turns - owed.turn, to_end, "{step} in {trace}");
    }
    seen
}

#[test]
fn a_query_is_answered_by_its_ready_for_query() {
    let mut owed = Owed::default();
    assert_eq!(play(&mut owed, ">Q <T <D <C <C"), "TDCC");
    assert!(!owed.is_settled());
    play(&mut owed, "<ZI");
    assert!(owed.is_idle());
}

#[test]
fn a_transaction_is_settled_but_not_idle() {
    let mut owed = Owed::default();
    play(&mut owed, ">Q <C <ZT");
    assert!(owed.is_settled() && !owed.is_idle());
    play(&mut owed, ">Q <E <ZE");
    assert_eq!(owed.status(), TxStatus::Failed);
    play(&mut owed, ">Q <C <ZI");
    assert!(owed.is_idle());
}

#[test]
fn a_batch_without_its_sync_is_not_settled() {
    let mut owed = Owed::default();
    play(&mut owed, ">P >B >E >H <1 <2 <C");
    assert!(!owed.is_settled() && !owed.settles_unaided());
    play(&mut owed, ">S <ZI");
    assert!(owed.is_idle());
}

#[test]
fn an_injected_flight_is_swallowed_between_the_clients_own() {
    let mut owed = Owed::default();
    let seen = play(&mut owed, "!P !B !E !C !C !S >Q <1 <2 <D <N <C <3 <3 <A <S <ZI <T <D <C <N <ZI");
    assert_eq!(seen, "ASTDCNZ");
    assert!(owed.is_idle());
}

#[test]
fn an_error_strikes_everything_up_to_the_sync() {
    let mut owed = Owed::default();
    play(&mut owed, ">P >B >E >B >E >Q >S >Q <1 <E <ZI");
    assert!(!owed.is_settled(), "the Query behind the Sync is still owed");
    play(&mut owed, "<C <ZI");
    assert!(owed.is_idle());
}

#[test]
fn what_is_sent_between_an_error_and_its_sync_has_no_answer() {
    let mut owed = Owed::default();
    play(&mut owed, ">P >B >E <E >B >E >Q >B");
    assert!(!owed.is_settled() && !owed.settles_unaided());
    play(&mut owed, ">S <ZI");
    assert!(owed.is_idle());
}

#[test]
fn a_query_that_is_skipped_does_not_close_the_batch_that_failed() {
    let mut owed = Owed::default();
    play(&mut owed, ">P >B >Q <E");
    assert!(!owed.is_settled() && !owed.settles_unaided());
    play(&mut owed, ">S <ZI");
    assert!(owed.is_idle());
}

#[test]
fn a_portal_may_be_executed_in_parts() {
    let mut owed = Owed::default();
    play(&mut owed, ">P >B >D >E >E >S <1 <2 <T <D <s <D <C <ZI");
    assert!(owed.is_idle());
}

#[test]
fn a_describe_of_a_statement_has_two_answers() {
    let mut owed = Owed::default();
    play(&mut owed, ">P >D >D >C >S <1 <t <T <t <n <3 <ZI");
    assert!(owed.is_idle());
}

#[test]
fn a_copy_eats_the_sync_that_libpq_sends_behind_it() {
    let mut owed = Owed::default();
    play(&mut owed, ">P >B >D >E >S <1 <2 <n <G");
    assert!(!owed.settles_unaided());
    play(&mut owed, ">d >d >c <C");
    assert!(!owed.is_settled(), "the batch has lost its Sync");
    play(&mut owed, ">S <ZI");
    assert!(owed.is_idle());
}

#[test]
fn a_sync_during_a_copy_is_ignored() {
    let mut owed = Owed::default();
    play(&mut owed, ">Q <G >d >S >H >d >c <C <ZI");
    assert!(owed.is_idle());
}

#[test]
fn a_copy_whose_data_was_sent_in_advance_eats_only_what_lies_before_its_end() {
    let mut owed = Owed::default();
    play(&mut owed, ">P >B >E >S >d >c >S <1 <2 <G <C");
    assert!(!owed.is_settled());
    play(&mut owed, "<ZI");
    assert!(owed.is_idle());
}

#[test]
fn a_copy_that_fails_at_its_data_waits_for_the_next_sync() {
    let mut owed = Owed::default();
    play(&mut owed, ">P >B >E >S <1 <2 <G >d <E >d >c");
    assert!(!owed.is_settled());
    play(&mut owed, ">S <ZI");
    // Whether the first Sync was read is not known.
    assert!(owed.is_settled() && owed.is_astray() && !owed.is_idle());
}

#[test]
fn a_copy_by_query_that_fails_ends_with_its_ready_for_query() {
    let mut owed = Owed::default();
    play(&mut owed, ">Q <G >d <E <ZI >d >c");
    assert!(owed.is_idle());
    play(&mut owed, ">Q >f <C <ZI");
    assert!(owed.is_idle(), "a CopyFail outside of a COPY is ignored");
}

#[test]
fn ends_of_a_copy_that_nobody_answers_do_not_pile_up() {
    let mut owed = Owed::default();
    play(&mut owed, ">P");
    play(&mut owed, &">c >f ".repeat(1000));
    assert_eq!(owed.queue.len(), 2);
    play(&mut owed, ">B >E >S <1 <2 <C <ZI");
    // A timeout that ran out before one of them has an answer that looks like others.
    assert!(owed.is_settled() && !owed.is_idle());
}

#[test]
fn a_copy_message_is_for_a_copy_that_is_known_or_for_nobody() {
    for (trace, fate) in [
        ("", CopyFate::Ignored),
        (">Q <C <ZT", CopyFate::Ignored),
        (">Q", CopyFate::Undecided),
        (">Q <G", CopyFate::Read),
        (">Q <G >d >c", CopyFate::Undecided),
        (">Q <G >d >c <C <G", CopyFate::Read),
        (">Q <G >d <E <ZI", CopyFate::Ignored),
        (">P >B >E >S", CopyFate::Undecided),
        (">P >B >E >S <1 <2 <G", CopyFate::Read),
        (">P >B >E", CopyFate::Untold),
        (">P >H <1", CopyFate::Untold),
        (">P >H <1 >S <ZI", CopyFate::Ignored),
        (">P >B >E <1 <2 <E", CopyFate::Ignored),
        (">P >B >E >S >P", CopyFate::Untold),
    ] {
        let mut owed = Owed::default();
        play(&mut owed, trace);
        assert_eq!(owed.copy_fate(), fate, "{trace}");
        let was_astray = owed.is_astray();
        for message in [">d", ">c", ">f"] {
            let mut owed = Owed::default();
            play(&mut owed, trace);
            play(&mut owed, message);
            assert_eq!(owed.is_astray(), was_astray || fate == CopyFate::Untold, "{trace} {message}");
        }
    }
}

#[test]
fn a_flush_that_is_refused_has_the_rest_skipped_up_to_the_sync() {
    let mut owed = Owed::default();
    play(&mut owed, ">P >H <1 >H <E >Q >B");
    assert!(!owed.is_settled() && owed.is_skipping());
    play(&mut owed, ">S <ZI");
    assert!(owed.is_idle());
}

#[test]
fn what_may_be_answered_out_of_turn_leaves_nobody_sure() {
    for (trace, is_astray) in [
        // A Parse behind the row that ends a COPY: what is sent behind it may find its time run out.
        (">Q <G >d >P", true),
        (">Q <G >d >Q", true),
        (">Q <G >d >c >Q", false),
        // A Flush that is refused has the Query skipped, or else the Query is refused.
        (">P >H <1 >H >Q", true),
        (">P >H <1 >H >F", true),
        (">P >H <1 >S >Q", false),
        (">P <1 >Q", false),
        ("!P !B !E >Q", false),
        // Nobody asked for these.
        (">Q <C <ZI <ZI", true),
        (">S <1", true),
        (">P >B <2", true),
        (">Q <1", false),
    ] {
        let mut owed = Owed::default();
        play(&mut owed, trace);
        assert_eq!(owed.is_astray(), is_astray, "{trace}");
    }
}

#[test]
fn an_answer_is_expected_by_what_was_asked_first() {
    for (trace, expected) in [
        ("", ""),
        ("!P !B !E", "1"),
        ("!P !B !E <1", "2"),
        ("!P !B !E <1 <2", "DC"),
        ("!P !B !E <1 <2 <D", "DC"),
        ("!C", "3"),
        (">Q", ""),
        (">S", ""),
    ] {
        let mut owed = Owed::default();
        play(&mut owed, trace);
        let answers = b"123DCTtnsIZGHWVSNAE".iter().filter(|tag| owed.expects(Tag(**tag)));
        let answers: String = answers.map(|tag| char::from(*tag)).filter(|tag| *tag != 'E').collect();
        assert_eq!(answers, expected, "{trace}");
    }
}

#[test]
fn what_is_owed_has_a_limit_far_above_what_a_server_keeps_to_itself() {
    let mut owed = Owed::default();
    play(&mut owed, &">P ".repeat(8 * 1024 / 5 * 4));
    assert!(!owed.is_full());
    play(&mut owed, &">P ".repeat(MOST - 8 * 1024 / 5 * 4));
    assert!(owed.is_full());
    play(&mut owed, "<1");
    assert!(!owed.is_full());
}

#[test]
fn a_ready_for_query_that_nothing_in_front_expects_strikes_nothing() {
    let mut owed = Owed::default();
    // The COPY failed before it read, so the Sync behind it was not eaten after all, and two are answered.
    let seen = play(&mut owed, ">P >B >E >S <1 <2 <G >f >S <E <ZI !P !B !E !S <ZI <1 <2 <C <ZI");
    assert_eq!(seen, "12GEZZ");
    assert!(owed.is_settled() && !owed.is_idle());
    play(&mut owed, ">P >B >E >S <1 <2 <G <E <ZI");
    assert!(owed.is_settled() && !owed.is_idle());
}

#[test]
fn an_error_at_commit_belongs_to_the_sync() {
    let mut owed = Owed::default();
    play(&mut owed, ">P >B >E >S >Q <1 <2 <C <E <ZI");
    assert!(!owed.is_settled());
    play(&mut owed, "<C <ZI");
    assert!(owed.is_idle());
}

#[test]
fn a_function_call_is_answered_like_a_query() {
    let mut owed = Owed::default();
    play(&mut owed, ">F >F <V <ZI <E <ZI");
    assert!(owed.is_idle());
}

#[test]
fn the_servers_last_word_belongs_to_the_client() {
    let mut owed = Owed::default();
    assert_eq!(play(&mut owed, "<E"), "E");
    assert!(owed.is_idle());
}

#[test]
fn a_flight_without_a_sync_is_closed_by_its_query_and_swallowed() {
    let mut owed = Owed::default();
    let seen = play(&mut owed, "!P !B !E !P !B !E !Q >Q <1 <2 <C <1 <2 <D <C <T <D <C <T <D <C <ZI <T <D <C <ZI");
    assert_eq!(seen, "TDCZ");
    assert!(owed.is_idle());
}

#[test]
fn what_was_made_for_a_request_fails_for_it() {
    let mut owed = Owed::default();
    assert_eq!(play(&mut owed, "?P >B >E >S <1 <2 <C <ZI"), "2CZ");
    assert_eq!(play(&mut owed, "?C ?P >P >B >E >S <3 <E <ZI"), "EZ");
    assert!(owed.is_idle());
}

#[test]
fn an_error_tells_how_many_statements_it_left_unmade() {
    let mut owed = Owed::default();
    play(&mut owed, ">P >P ?C ?P >B >E >C >S >P <1 <E");
    assert_eq!(owed.dropped(), 4);
    play(&mut owed, "<ZI <E");
    assert_eq!((owed.dropped(), owed.is_skipping()), (1, true));
    play(&mut owed, ">S <ZI >Q <E");
    assert_eq!((owed.dropped(), owed.is_skipping()), (0, false));
}

#[test]
fn an_error_is_one_of_the_turn_that_it_ends() {
    let mut owed = Owed::default();
    let next_turns = [">Q", ">P >B >E", ">Q", ">S", ">F", ">P"].map(|sent| {
        let turn = owed.next_turn();
        play(&mut owed, sent);
        turn
    });
    assert_eq!(next_turns, [0, 1, 1, 2, 3, 4]);
    let mut failed = |answers: &str| {
        play(&mut owed, answers);
        owed.turn()
    };
    assert_eq!([failed("<C <E"), failed("<ZI <1 <2 <E"), failed("<ZI <E"), failed("<ZI <E")], [0, 2, 3, 4]);
}

#[test]
fn a_copy_that_may_not_have_read_the_syncs_behind_it_leaves_nobody_idle() {
    // One that fails before it reads (FREEZE, a view, a trigger) answers both Syncs; a Query behind them still runs when
    // the account has come to its end.
    for trace in [
        ">Q >S >Q <G <E <ZI <ZI",
        ">P >B >E >S >Q <1 <2 <G <E <ZI",
        ">Q >d >c >d >c >S >Q <G <G <C <ZI <ZI",
        ">P >B >E <1 <2 <G >S >S <E <ZI",
        ">Q <G >S <E <ZI",
    ] {
        let mut owed = Owed::default();
        play(&mut owed, trace);
        assert!(!owed.is_idle(), "{trace}");
    }
}

#[test]
fn a_copy_as_drivers_do_it_leaves_the_server_idle() {
    for trace in
        [">Q <G >d >c <C <ZI", ">P >B >E >S <1 <2 <G >d >c >S <C <ZI", ">Q <G >d >f <E <ZI", ">Q >d >c <G <C <ZI"]
    {
        let mut owed = Owed::default();
        play(&mut owed, trace);
        assert!(owed.is_idle(), "{trace}");
    }
}

#[test]
fn a_request_made_to_fail_has_its_error_replaced_and_stays_in_step() {
    let mut owed = Owed::default();
    owed.sent(frontend::DESCRIBE, Answer::Refuse);
    owed.sent(frontend::BIND, Answer::Forward);
    owed.sent(frontend::EXECUTE, Answer::Forward);
    owed.sent(frontend::SYNC, Answer::Forward);
    assert_eq!(owed.received(backend::NOTICE_RESPONSE, None), Answer::Swallow);
    assert_eq!(owed.received(backend::ERROR_RESPONSE, None), Answer::Refuse);
    assert!(!owed.is_skipping() && !owed.is_settled());
    assert_eq!(owed.received(backend::READY_FOR_QUERY, Some(b'I')), Answer::Forward);
    assert!(owed.is_idle());
}

#[test]
fn it_is_told_whether_the_first_of_what_is_dropped_has_failed_itself() {
    for (requests, count, failed) in [(">P >B >P >S", 2, true), (">B >P >C >S", 2, false), (">S >E >P >S", 1, false)] {
        let mut owed = Owed::default();
        play(&mut owed, requests);
        play(&mut owed, if requests.starts_with(">S") { "<ZI <E" } else { "<E" });
        assert_eq!((owed.dropped(), owed.has_failed()), (count, failed), "{requests}");
    }
}
