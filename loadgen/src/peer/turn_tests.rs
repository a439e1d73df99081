#![allow(clippy::unwrap_used)]
use super::*;

const T0: Nanos = Nanos(1_000_000_000);
const RELAYED: &str = "127.0.0.1:50000";

fn client() -> TurnClient {
    TurnClient::new(Credential { username: "u".into(), password: "p".into() }, [9; 12])
}

fn key() -> [u8; 16] {
    long_term_key("u", "r", "p")
}

fn challenge(request: &[u8], code: u8, nonce: &[u8]) -> Vec<u8> {
    let request = View::parse(request).unwrap();
    Builder::new(Class::Error, method_of(&request), request.transaction())
        .attribute(attribute::ERROR_CODE, &[0, 0, 4, code])
        .attribute(attribute::REALM, b"r")
        .attribute(attribute::NONCE, nonce)
        .finish()
}

fn method_of(view: &View<'_>) -> Method {
    [Method::Allocate, Method::Refresh, Method::CreatePermission, Method::ChannelBind]
        .into_iter()
        .find(|method| *method as u16 == view.method())
        .unwrap()
}

fn success(request: &[u8], key: &[u8]) -> Vec<u8> {
    let request = View::parse(request).unwrap();
    Builder::new(Class::Success, method_of(&request), request.transaction())
        .address(attribute::XOR_RELAYED_ADDRESS, RELAYED.parse().unwrap())
        .attribute(attribute::LIFETIME, &600u32.to_be_bytes())
        .integrity(key)
        .finish()
}

fn answer(client: &mut TurnClient, at: Nanos, reply: &[u8]) {
    client.handle_message(at, &View::parse(reply).unwrap());
}

fn allocated() -> TurnClient {
    let mut client = client();
    client.allocate(T0);
    let first = client.poll_transmit().unwrap();
    answer(&mut client, T0, &challenge(&first, 1, b"nonce"));
    let second = client.poll_transmit().unwrap();
    answer(&mut client, T0, &success(&second, &key()));
    client
}

#[test]
fn an_allocation_takes_the_challenge_in_its_stride() {
    let mut client = client();
    client.allocate(T0);
    let first = client.poll_transmit().unwrap();
    assert!(View::parse(&first).unwrap().get(attribute::USERNAME).is_none());
    let later = T0.after(Duration::from_millis(3));
    answer(&mut client, later, &challenge(&first, 1, b"nonce"));
    let second = client.poll_transmit().unwrap();
    assert!(View::parse(&second).unwrap().integrity_matches(&key()));
    answer(&mut client, later, &success(&second, &key()));
    assert_eq!(client.poll_event(), Some(Event::Allocated { relayed: RELAYED.parse().unwrap(), sent: T0 }));
}

#[test]
fn a_wrong_password_is_refused_and_not_tried_for_ever() {
    let mut client = client();
    client.allocate(T0);
    for _ in 0..2 {
        let request = client.poll_transmit().unwrap();
        answer(&mut client, T0, &challenge(&request, 1, b"nonce"));
    }
    let failure = Failure { request: Method::Allocate, reason: FailureReason::Refused(401) };
    assert_eq!(client.poll_event(), Some(Event::Failed(failure)));
    assert_eq!(client.poll_transmit(), None);
}

#[test]
fn a_stale_nonce_is_replaced() {
    let mut client = allocated();
    client.poll_event();
    client.bind(T0, 0x4000, "127.0.0.1:50001".parse().unwrap());
    let request = client.poll_transmit().unwrap();
    answer(&mut client, T0, &challenge(&request, 38, b"fresh"));
    let again = client.poll_transmit().unwrap();
    assert_eq!(View::parse(&again).unwrap().get(attribute::NONCE), Some(&b"fresh"[..]));
    answer(&mut client, T0, &success(&again, &key()));
    assert_eq!(client.poll_event(), Some(Event::Bound { channel: 0x4000, sent: T0 }));
}

#[test]
fn a_success_without_integrity_is_a_bad_response() {
    let mut client = client();
    client.allocate(T0);
    let first = client.poll_transmit().unwrap();
    answer(&mut client, T0, &challenge(&first, 1, b"nonce"));
    let second = client.poll_transmit().unwrap();
    answer(&mut client, T0, &success(&second, b"somebody else's key"));
    let failure = Failure { request: Method::Allocate, reason: FailureReason::BadResponse };
    assert_eq!(client.poll_event(), Some(Event::Failed(failure)));
}

#[test]
fn silence_is_retransmitted_seven_times_over_thirty_nine_and_a_half_seconds() {
    let mut client = client();
    client.allocate(T0);
    let mut sends = 0;
    let mut last = T0;
    while client.poll_event().is_none() {
        while client.poll_transmit().is_some() {
            sends += 1;
        }
        last = client.poll_timeout().unwrap();
        client.handle_timeout(last);
        assert!(sends <= 7);
    }
    assert_eq!(sends, 7);
    assert_eq!(client.retransmissions, 6);
    assert_eq!(last.since(T0), Duration::from_millis(39_500));
}

#[test]
fn over_a_stream_nothing_is_sent_again() {
    let mut client = client();
    client.over_stream(true);
    client.allocate(T0);
    assert!(client.poll_transmit().is_some());
    let last = client.poll_timeout().unwrap();
    client.handle_timeout(last);
    assert_eq!((last.since(T0), client.poll_transmit()), (Duration::from_millis(39_500), None));
    assert!(matches!(client.poll_event(), Some(Event::Failed(_))));
}

#[test]
fn allocation_and_channel_are_kept_alive() {
    let mut client = allocated();
    let refresh = client.poll_timeout().unwrap();
    assert_eq!(refresh.since(T0), Duration::from_secs(540));
    client.handle_timeout(refresh);
    let request = client.poll_transmit().unwrap();
    assert_eq!(View::parse(&request).unwrap().method(), Method::Refresh as u16);
}

#[test]
fn freeing_what_the_server_already_dropped_counts_as_freed() {
    let mut client = allocated();
    client.poll_event();
    client.free(T0);
    let request = client.poll_transmit().unwrap();
    let view = View::parse(&request).unwrap();
    assert_eq!(view.u32(attribute::LIFETIME), Some(0));
    let gone = Builder::new(Class::Error, Method::Refresh, view.transaction())
        .attribute(attribute::ERROR_CODE, &[0, 0, 4, 37])
        .finish();
    answer(&mut client, T0, &gone);
    assert_eq!(client.poll_event(), Some(Event::Freed));
    assert_eq!(client.poll_timeout(), None);
}
