//! The cases of the Autobahn suite, groups 1–7, 9 and 10, against pair.v1's socket (W04–W07, W23).
//!
//! The suite itself (PyPI's `autobahntestsuite` 25.10.1) is written for Python 2 and does not import under 3; besides, it wants an echo,
//! and this socket is none: it takes JSON text of at most 16 KiB. So a message here is a `ping` with a number and padding in a field that
//! the server ignores, and its echo is the `pong` with that number. Where the suite has binary messages, or more than 16 KiB, the server's
//! policy is asked instead: 4400, 1009. Compression (12, 13) is not offered. Case numbers are the suite's.

use e2e::Daemon;
use e2e::websocket::opcode::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT};
use e2e::websocket::{Said, Socket, frame, head};

const FIN: u8 = 0x80;
const MAX: usize = 16 * 1024;

struct Case {
    name: String,
    /// Sent and answered before anything else.
    first: Option<(Vec<u8>, Said)>,
    /// Each piece is written by itself.
    send: Vec<Vec<u8>>,
    expect: Vec<Said>,
}

fn case(name: impl Into<String>, send: Vec<Vec<u8>>, expect: Vec<Said>) -> Case {
    Case { name: name.into(), first: None, send, expect }
}

/// The same once a good message has been answered. (An answer that is under way when the connection fails may be lost with it.)
fn after(good: Vec<u8>, p: u64, case: Case) -> Case {
    Case { first: Some((good, pong(p))), ..case }
}

/// Sends and hears, each case on a connection of its own; says of all that failed what was heard instead.
fn run(cases: Vec<Case>) {
    let daemon = Daemon::local().start();
    let failed: Vec<String> = cases
        .into_iter()
        .filter_map(|Case { name, first, send, expect }| {
            let mut socket = Socket::connect(&daemon);
            if let Some((good, answer)) = first {
                socket.send(&good);
                assert_eq!(socket.hear(), answer, "{name}");
            }
            send.iter().for_each(|piece| socket.send(piece));
            let heard: Vec<Said> = expect.iter().map(|_| socket.hear()).collect();
            (heard != expect).then(|| format!("{name}: {heard:?} instead of {expect:?}"))
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The text of a message of so many bytes whose echo is `pong(p)`.
fn message(p: u64, length: usize) -> Vec<u8> {
    let (start, end) = (format!(r#"{{"t":"ping","p":{p},"pad":""#), r#""}"#);
    let padding = length.saturating_sub(start.len() + end.len());
    format!("{start}{}{end}", "*".repeat(padding)).into_bytes()
}

fn with(p: u64, padding: &[u8]) -> Vec<u8> {
    [format!(r#"{{"t":"ping","p":{p},"pad":""#).as_bytes(), padding, br#""}"#].concat()
}

fn text(p: u64) -> Vec<u8> {
    frame(FIN | TEXT, &message(p, 0))
}

fn pong(p: u64) -> Said {
    Said::Message("pong".to_owned(), Some(p))
}

/// The end of a connection that the server closes for this reason: it says so, and the connection is closed once the client has
/// answered or gone.
fn closed(code: u16) -> Vec<Said> {
    vec![Said::Close(Some(code))]
}

fn refused() -> Vec<Said> {
    vec![Said::Message("error".to_owned(), None), Said::Close(Some(4400))]
}

/// The head of a frame whose payload never comes: it is refused for what it says.
fn promised(opcode: u8, length: u64) -> Vec<u8> {
    [head(FIN | opcode, length, true), vec![0; 4]].concat()
}

fn bytewise(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.chunks(1).map(<[u8]>::to_vec).collect()
}

/// In fragments of at most so many bytes.
fn fragments(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    let last = bytes.len().div_ceil(size) - 1;
    let first = |at: usize| if at == 0 { TEXT } else { CONTINUATION } | if at == last { FIN } else { 0 };
    bytes.chunks(size).enumerate().map(|(at, piece)| frame(first(at), piece)).collect()
}

#[test]
fn group_1_framing() {
    let lengths = [0, 125, 126, 127, 128, 4_000, MAX - 1, MAX];
    let mut cases: Vec<Case> = lengths
        .iter()
        .map(|&length| {
            case(format!("1.1 text of {length}"), vec![frame(FIN | TEXT, &message(7, length))], vec![pong(7)])
        })
        .collect();
    let chopped = frame(FIN | TEXT, &message(8, 4_000)).chunks(997).map(<[u8]>::to_vec).collect();
    cases.push(case("1.1.8 text in chops", chopped, vec![pong(8)]));
    cases.push(case("1.1.1 empty text is no JSON", vec![frame(FIN | TEXT, b"")], refused()));
    for length in [0, 125, 126, 127, 128, 4_000] {
        cases.push(case(format!("1.2 binary of {length}"), vec![frame(FIN | BINARY, &vec![0xfe; length])], refused()));
    }
    run(cases);
}

#[test]
fn group_2_pings_and_pongs() {
    let ping = |payload: &[u8]| frame(FIN | PING, payload);
    let (longest, too_long) = (vec![0xfe; 125], vec![0xfe; 126]);
    let ten: Vec<Vec<u8>> = (0..10).map(|number| ping(&[number])).collect();
    let answers: Vec<Said> = (0..10).map(|number| Said::Pong(vec![number])).collect();
    run(vec![
        case("2.1 empty", vec![ping(b"")], vec![Said::Pong(vec![])]),
        case("2.2 text", vec![ping(b"Hello, world!")], vec![Said::Pong(b"Hello, world!".to_vec())]),
        case("2.3 binary", vec![ping(&[0, 255, 254, 253])], vec![Said::Pong(vec![0, 255, 254, 253])]),
        case("2.4 longest", vec![ping(&longest)], vec![Said::Pong(longest.clone())]),
        case("2.5 too long", vec![ping(&too_long)], closed(1002)),
        case("2.6 octet by octet", bytewise(&ping(&longest)), vec![Said::Pong(longest.clone())]),
        case("2.7 unsolicited pong", vec![frame(FIN | PONG, b""), text(1)], vec![pong(1)]),
        case("2.8 with payload", vec![frame(FIN | PONG, b"unsolicited"), text(2)], vec![pong(2)]),
        case("2.9 and a ping", vec![frame(FIN | PONG, b"unsolicited"), ping(b"p")], vec![Said::Pong(b"p".to_vec())]),
        case("2.10 ten pings", ten.clone(), answers.clone()),
        case("2.11 ten in chops", bytewise(&ten.concat()), answers),
    ]);
}

#[test]
fn group_3_reserved_bits() {
    let mut cases = Vec::new();
    for rsv in 1..8 {
        let first = FIN | rsv << 4;
        cases.push(case(format!("3.1 RSV {rsv} on text"), vec![frame(first | TEXT, &message(1, 0))], closed(1002)));
        let second = vec![frame(first | TEXT, &message(2, 0)), frame(FIN | PING, b"")];
        cases.push(after(text(1), 1, case(format!("3.2–3.4 RSV {rsv} after a good one"), second, closed(1002))));
        cases.push(case(format!("3.5 RSV {rsv} on binary"), vec![frame(first | BINARY, b"")], closed(1002)));
        cases.push(case(format!("3.6 RSV {rsv} on a ping"), vec![frame(first | PING, b"x")], closed(1002)));
        cases.push(case(format!("3.7 RSV {rsv} on a close"), vec![frame(first | CLOSE, &[3, 232])], closed(1002)));
    }
    run(cases);
}

#[test]
fn group_4_reserved_opcodes() {
    let mut cases = Vec::new();
    for opcode in (3..8).chain(11..16) {
        cases.push(case(format!("4 opcode {opcode}"), vec![frame(FIN | opcode, b"")], closed(1002)));
        cases.push(case(
            format!("4 opcode {opcode} with payload"),
            vec![frame(FIN | opcode, b"reserved")],
            closed(1002),
        ));
        let second = vec![frame(FIN | opcode, b""), frame(FIN | PING, b"")];
        cases.push(after(text(1), 1, case(format!("4 opcode {opcode} after a good one"), second, closed(1002))));
    }
    run(cases);
}

#[test]
fn group_5_fragmentation() {
    let whole = message(5, 200);
    let halves = fragments(&whole, 100);
    let between = |frame: Vec<u8>| vec![halves[0].clone(), frame, halves[1].clone()];
    let p = Said::Pong(b"p".to_vec());
    let ping = frame(FIN | PING, b"p");
    let stray = |fin: u8| vec![frame(fin | CONTINUATION, b"stray"), text(1)];
    run(vec![
        case("5.1 a ping in fragments", vec![frame(PING, b"a"), frame(FIN | CONTINUATION, b"b")], closed(1002)),
        case("5.2 a pong in fragments", vec![frame(PONG, b"a"), frame(FIN | CONTINUATION, b"b")], closed(1002)),
        case("5.3 two fragments", halves.clone(), vec![pong(5)]),
        case("5.4 at once", vec![halves.concat()], vec![pong(5)]),
        case("5.5 octet by octet", bytewise(&halves.concat()), vec![pong(5)]),
        case("5.6 a ping between", between(ping.clone()), vec![p.clone(), pong(5)]),
        case("5.7 at once", vec![between(ping.clone()).concat()], vec![p.clone(), pong(5)]),
        case("5.8 octet by octet", bytewise(&between(ping.clone()).concat()), vec![p.clone(), pong(5)]),
        case("5.9 continues nothing", stray(FIN), closed(1002)),
        case("5.10 at once", vec![stray(FIN).concat()], closed(1002)),
        case("5.11 octet by octet", bytewise(&stray(FIN).concat()), closed(1002)),
        case("5.12 continues nothing, and goes on", stray(0), closed(1002)),
        case("5.13 at once", vec![stray(0).concat()], closed(1002)),
        case("5.14 octet by octet", bytewise(&stray(0).concat()), closed(1002)),
        after(halves.concat(), 5, case("5.15 after the end", stray(FIN), closed(1002))),
        case("5.16 stray before a message", [stray(0), halves.clone()].concat(), closed(1002)),
        case("5.17 stray end before a message", [stray(FIN), halves.clone()].concat(), closed(1002)),
        case("5.18 a message within a message", vec![halves[0].clone(), text(6)], closed(1002)),
        case(
            "5.19 five fragments, pings between",
            fragments(&whole, 40).into_iter().flat_map(|piece| [ping.clone(), piece]).collect(),
            [vec![p; 5], vec![pong(5)]].concat(),
        ),
        case(
            "5 an empty fragment",
            vec![halves[0].clone(), frame(CONTINUATION, b""), halves[1].clone()],
            vec![pong(5)],
        ),
        case("5 binary begun, text meant", vec![frame(BINARY, b"{"), frame(FIN | CONTINUATION, b"}")], refused()),
    ]);
}

/// Complete and well formed, among them code points that are no characters (6.6, 6.7, 6.22).
const GOOD: [&str; 9] = [
    "κόσμε",
    "\u{0}7f",
    "\u{7f}",
    "\u{80}",
    "\u{7ff}",
    "\u{800}\u{ffff}",
    "\u{fffd}",
    "\u{10000}\u{10ffff}",
    "\u{fffe}\u{1ffff}",
];

/// 6.3, 6.4, 6.8–6.21: impossible octets, stray continuations, cut sequences, overlong ones, surrogates, beyond U+10FFFF.
const BAD: [&[u8]; 24] = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xf7\xbf\xbf\xbf",
    b"\xfb\xbf\xbf\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\x80",
    b"\xbf\x80\xbf",
    b"\xc0 \xc1 ",
    b"\xe0 \xe1 ",
    b"\xf0 \xf7 ",
    b"\xc0",
    b"\xe0\x80",
    b"\xf0\x80\x80",
    b"\xdf",
    b"\xef\xbf",
    b"\xfe",
    b"\xff",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbe\x80\xed\xbf\xbf",
];

#[test]
fn group_6_utf_8() {
    let mut cases = Vec::new();
    for (number, good) in GOOD.iter().enumerate().filter(|(_, good)| !good.contains('\0')) {
        let bytes = with(6, good.as_bytes());
        cases.push(case(format!("6 good {number}"), vec![frame(FIN | TEXT, &bytes)], vec![pong(6)]));
        cases.push(case(format!("6.2 good {number}, a frame per octet"), fragments(&bytes, 1), vec![pong(6)]));
    }
    for (number, bad) in BAD.iter().enumerate() {
        let bytes = with(6, bad);
        cases.push(case(format!("6 bad {number}"), vec![frame(FIN | TEXT, &bytes)], closed(1007)));
        cases.push(case(format!("6 bad {number}, a frame per octet"), fragments(&bytes, 1), closed(1007)));
    }
    // 6.4: found out before the message is over.
    let early = vec![frame(TEXT, &with(6, b"\xf4\x90")), frame(CONTINUATION, b"and on")];
    cases.push(case("6.4 fails at the fragment", early, closed(1007)));
    run(cases);
}

#[test]
fn group_7_closing() {
    let close = |payload: &[u8]| frame(FIN | CLOSE, payload);
    let coded = |code: u16, reason: &[u8]| close(&[&code.to_be_bytes()[..], reason].concat());
    let normal = || coded(1000, b"");
    let answered = |code| vec![Said::Close(code), Said::End];
    let mut cases = vec![
        after(text(1), 1, case("7.1.1 after a message", vec![normal()], answered(Some(1000)))),
        case("7.1.2 twice", vec![normal(), normal()], answered(Some(1000))),
        case("7.1.3 a ping after it", vec![normal(), frame(FIN | PING, b"")], answered(Some(1000))),
        case("7.1.4 a message after it", vec![normal(), text(1)], answered(Some(1000))),
        case(
            "7.1.5 amid a message",
            vec![frame(TEXT, b"{"), normal(), frame(FIN | CONTINUATION, b"}")],
            answered(Some(1000)),
        ),
        case("7.3.1 without a payload", vec![close(b"")], answered(None)),
        case("7.3.2 half a code", vec![close(&[3])], closed(1002)),
        case("7.3.4 with a reason", vec![coded(1000, b"Hello World!")], answered(Some(1000))),
        case("7.3.5 the longest", vec![coded(1000, &[b'*'; 123])], answered(Some(1000))),
        case("7.3.6 too long", vec![coded(1000, &[b'*'; 124])], closed(1002)),
        case("7.5.1 a reason that is no UTF-8", vec![coded(1000, b"\xce\xba\xed\xa0\x80")], closed(1007)),
    ];
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4999] {
        cases.push(case(format!("7.7 code {code}"), vec![coded(code, b"")], answered(Some(code))));
    }
    for code in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535] {
        cases.push(case(format!("7.9 code {code}"), vec![coded(code, b"")], closed(1002)));
    }
    run(cases);
}

#[test]
fn groups_9_and_10_limits_and_many_fragments() {
    let most = message(9, MAX);
    let too_long = vec![b' '; MAX + 1];
    let mut cases = vec![
        case("9.1 the longest there is", vec![frame(FIN | TEXT, &most)], vec![pong(9)]),
        case("9.1 one octet more", vec![frame(FIN | TEXT, &too_long)], closed(1009)),
        case("9.1 64 KiB promised", vec![promised(TEXT, 1 << 16)], closed(1009)),
        case("9.1 16 MiB promised", vec![promised(TEXT, 1 << 24)], closed(1009)),
        case("9.2 binary, 64 KiB promised", vec![promised(BINARY, 1 << 16)], closed(1009)),
        case("9 2^62 promised", vec![promised(TEXT, 1 << 62)], closed(1009)),
        case("9.3 fragments that grow beyond", fragments(&too_long, 1_000), closed(1009)),
        case("10.1 fragments of 1300 octets", fragments(&most, 1_300), vec![pong(9)]),
        case("W04 not masked", vec![[head(FIN | TEXT, 2, false), b"{}".to_vec()].concat()], closed(1002)),
    ];
    for size in [64, 256, 1_024, 4_096] {
        cases.push(case(format!("9.3 in fragments of {size}"), fragments(&most, size), vec![pong(9)]));
    }
    for chop in [64, 512, 1_024] {
        let chopped = frame(FIN | TEXT, &most).chunks(chop).map(<[u8]>::to_vec).collect();
        cases.push(case(format!("9.5 in chops of {chop}"), chopped, vec![pong(9)]));
    }
    run(cases);
}
