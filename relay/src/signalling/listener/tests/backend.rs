//! An app's backend, the network and reports, over real sockets.

use std::sync::Mutex;

use super::*;
use crate::signalling::desk::{Change, Revoked};
use crate::signalling::operator::Tell;
use crate::signalling::webhook::{self, sign};

const KEY: &[u8] = b"a secret of the webhook, 32 bytes";

/// A backend that takes reports with this status, and remembers them.
struct Backend {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<String>>>,
}

impl Backend {
    async fn start(statuses: Vec<u16>) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&taken);
        tokio::spawn(async move {
            let last = statuses.last().copied().unwrap();
            let mut statuses = statuses.into_iter();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 64 * 1024];
                let mut length = 0;
                while !is_complete(&request[..length]) {
                    length += stream.read(&mut request[length..]).await.unwrap();
                }
                log.lock().unwrap().push(String::from_utf8(request[..length].to_vec()).unwrap());
                let status = statuses.next().unwrap_or(last);
                let answer = format!("HTTP/1.1 {status} Answer\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Backend { address, taken }
    }

    fn settings(&self) -> Settings {
        let mut settings = settings();
        settings.desk.reports = true;
        let (host, port) = (self.address.ip().to_string(), self.address.port());
        let (path, secret) = ("/reports?v=1".to_owned(), KEY.to_vec());
        settings.reports = Some(webhook::Settings { https: false, host, port, path, secret, tls: None });
        settings
    }
}

fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    body.len() == length.parse::<usize>().unwrap()
}

/// Two who are matched; the call.
async fn matched(server: &Server) -> (Socket, Socket, Value) {
    let (mut a, mut b) = (server.enter("a").await, server.enter("b").await);
    for socket in [&mut a, &mut b] {
        say(socket, json!({ "t": "queue" })).await;
        hear(socket, "queued").await;
    }
    let call = hear(&mut a, "matched").await["call"].clone();
    hear(&mut b, "matched").await;
    for socket in [&mut a, &mut b] {
        say(socket, json!({ "t": "ack", "call": call })).await;
    }
    (a, b, call)
}

/// The next frame of this type, whatever comes before it.
async fn hear_at_last(socket: &mut Socket, t: &str) -> Value {
    loop {
        if let Message::Text(text) = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap() {
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["t"] == t {
                return frame;
            }
        }
    }
}

#[tokio::test]
async fn a_report_reaches_the_backend_signed_and_with_its_evidence() {
    let backend = Backend::start(vec![503, 204]).await;
    // The call itself runs into its deadlines meanwhile: nobody describes themselves here.
    let server = serve(backend.settings()).await;
    let (mut a, mut b, call) = matched(&server).await;
    say(&mut b, json!({ "t": "text", "call": call, "k": 1, "b": "a threat" })).await;
    let text = hear(&mut a, "text").await;
    let ev = json!([{ "k": 1, "b": "a threat", "tag": text["tag"] }]);
    say(&mut a, json!({ "t": "report", "q": 9, "call": call, "cat": "harassment", "ev": ev })).await;
    assert_eq!(hear_at_last(&mut a, "reported").await["q"], 9);
    let request = backend.taken.lock().unwrap().last().unwrap().clone();
    assert!(request.starts_with("POST /reports?v=1 HTTP/1.1\r\n"), "{request}");
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let signature = head.lines().find_map(|line| line.strip_prefix("X-Pair-Signature: ")).unwrap();
    let at = signature.strip_prefix("t=").unwrap().split(',').next().unwrap().parse().unwrap();
    assert_eq!(signature, format!("t={at},v1={}", sign(KEY, at, body)));
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["verified"][0]["b"], "a threat");
    assert_eq!(body["reported_sub"], "pseudonym-of-caller-b");
    assert_eq!(server.signalling.counters().reports_delivered(), 1);
}

#[tokio::test]
async fn a_backend_that_is_down_leaves_the_evidence_with_its_owner_except_for_a_childs_safety() {
    let backend = Backend::start(vec![500, 500, 500, 500, 200]).await;
    let server = serve(backend.settings()).await;
    let (mut a, _b, call) = matched(&server).await;
    say(&mut a, json!({ "t": "report", "call": call, "cat": "minor_safety" })).await;
    hear(&mut a, "ended").await;
    assert_eq!(hear_at_last(&mut a, "error").await["code"], "E_REPORT_RETRY");
    let counters = server.signalling.counters();
    assert_eq!((counters.reports_failed(), counters.safety_undelivered()), (1, 1));
    // Two more tries, six and twelve seconds later.
    let begun = Instant::now();
    while counters.safety_undelivered() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "it was never tried again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(counters.reports_delivered(), 1);
}

impl Server {
    /// Where the operator's requests are answered.
    async fn operator(&self) -> SocketAddr {
        self.operator_that(Arc::new(|_| true)).await
    }

    /// Tells other nodes like this.
    async fn operator_that(&self, tell: Tell) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = self.signalling.operator_router(|| true, tell);
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }
}

#[tokio::test]
async fn other_nodes_are_told_what_was_asked_here_and_if_they_cannot_be_the_backend_is() {
    let server = serve(settings()).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let tells = server.operator_that(Arc::new(move |change| (log.lock().unwrap().push(change), true).1)).await;
    let json = "Content-Type: application/json\r\n";
    assert_eq!(ask(tells, "POST", "/v1/revoke", json, r#"{"sub":"somebody"}"#).await.0, 200);
    assert_eq!(ask(tells, "POST", "/v1/revoke", json, r#"{"jti":"a token","secs":9}"#).await.0, 200);
    assert_eq!(ask(tells, "DELETE", "/v1/subjects/somebody", "", "").await.0, 204);
    let person = crate::matchmaking::entry("somebody");
    let told = told.lock().unwrap().clone();
    assert!(matches!(told[0], Change::Revoke(Revoked::Person(entry), _) if entry == person), "{told:?}");
    assert!(matches!(told[1], Change::Revoke(Revoked::Token(_), _)) && told[2] == Change::Erase(person), "{told:?}");
    let cannot = server.operator_that(Arc::new(|_| false)).await;
    assert_eq!(ask(cannot, "POST", "/v1/revoke", json, r#"{"sub":"somebody"}"#).await.0, 507);
    assert_eq!(ask(cannot, "DELETE", "/v1/subjects/somebody", "", "").await.0, 503);
}

/// Status and body of one request.
/// A backend that answers like this, one after the other, and remembers what it was asked.
async fn list_server(answers: Vec<&'static str>) -> (webhook::Settings, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            log.lock().unwrap().push(String::from_utf8(request[..length].to_vec()).unwrap());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let (host, port, path) = (address.ip().to_string(), address.port(), "/revoked?n=1".to_owned());
    (webhook::Settings { https: false, host, port, path, secret: KEY.to_vec(), tls: None }, asked)
}

#[tokio::test]
async fn revocations_of_before_the_start_are_fetched_and_hold_and_nobody_is_let_in_meanwhile() {
    let (backend, asked) = list_server(vec![
        "HTTP/1.1 503 Later\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n<html>not the list</html>",
        "HTTP/1.1 200 OK\r\nContent-Length: 79\r\n\r\n{\"revoked\":[]}",
        "HTTP/1.1 200 OK\r\n\r\n{\"revoked\":[{\"sub\":\"pseudonym-of-caller-a\",\"until\":99999999999}]}",
    ])
    .await;
    let mut settings = settings();
    settings.desk.await_revocations = true;
    settings.revocations = Some(backend);
    let server = serve(settings).await;
    let counters = server.signalling.counters();
    let mut early = server.connect().await;
    assert_eq!(hear(&mut early, "error").await["code"], "E_BUSY");
    assert_eq!(hear_close(&mut early).await, 4503);
    let fetched = async {
        while counters.awaiting_revocations() != 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, fetched).await.unwrap();
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 4, "503, nonsense and half an answer are no list");
    let head = &asked[3];
    assert!(head.starts_with("GET /revoked?n=1 HTTP/1.0\r\n"), "{head}");
    let signature = head.lines().find_map(|line| line.strip_prefix("X-Pair-Signature: ")).unwrap();
    let at = signature.strip_prefix("t=").unwrap().split(',').next().unwrap().parse().unwrap();
    assert_eq!(signature, format!("t={at},v1={}", sign(KEY, at, "/revoked?n=1")));
    server.enter("b").await;
    let mut banned = server.connect().await;
    say(&mut banned, json!({ "t": "hello", "v": [1], "token": server.token("a") })).await;
    assert_eq!(hear(&mut banned, "error").await["code"], "E_REVOKED");
}

async fn ask(to: SocketAddr, method: &str, path: &str, more: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn a_backend_ends_a_person_and_sees_what_is_held() {
    let server = serve(settings()).await;
    let operator = server.operator().await;
    let mut socket = server.enter("a").await;
    let sub = "pseudonym-of-caller-a";
    let (status, held) = ask(operator, "GET", &format!("/v1/subjects/{sub}"), "", "").await;
    assert_eq!((status, &held["state"], &held["connected"]), (200, &json!("idle"), &json!(true)));
    let body = json!({ "sub": sub }).to_string();
    assert_eq!(ask(operator, "POST", "/v1/revoke", JSON, &body).await, (200, json!({ "ended": true })));
    assert_eq!(hear(&mut socket, "error").await["code"], "E_REVOKED");
    assert_eq!(hear_close(&mut socket).await, 4403);
    assert_eq!(ask(operator, "DELETE", &format!("/v1/subjects/{sub}"), "", "").await.0, 204);
    for bad in [json!({}), json!({ "sub": "a", "jti": "b" }), json!({ "sub": 7 }), json!({ "user": "a" })] {
        assert_eq!(ask(operator, "POST", "/v1/revoke", JSON, &bad.to_string()).await.0, 422, "{bad}");
    }
}

#[tokio::test]
async fn what_is_asked_of_a_desk_that_has_moved_is_not_done_where_nobody_would_know() {
    let server = serve(settings()).await;
    let operator = server.operator().await;
    let body = json!({ "sub": "pseudonym-of-caller-a" }).to_string();
    let packed = super::ask(&server, |controls| controls.pack(|_| false)).await.unwrap();
    for (path, body) in [("/v1/revoke", &*body), ("/v1/calls", "{}")] {
        assert_eq!(ask(operator, "POST", path, JSON, body).await.0, 503, "{path}: to be asked again");
    }
    assert!(super::ask(&server, |controls| controls.take_back(packed) && controls.go_on()).await);
    assert_eq!(ask(operator, "POST", "/v1/revoke", JSON, &body).await.0, 200);
}

#[tokio::test]
async fn a_backend_gets_the_relay_alone_for_one_call() {
    let server = serve(settings()).await;
    let operator = server.operator().await;
    let (status, call) = ask(operator, "POST", "/v1/calls", JSON, r#"{"start_secs":120}"#).await;
    assert_eq!(status, 201);
    for side in [0, 1] {
        let side = &call["sides"][side];
        assert_eq!(side["iceTransportPolicy"], "relay");
        assert!(side["iceServers"][0]["username"].is_string() && side["iceServers"][0]["urls"].is_array());
    }
    let path = format!("/v1/calls/{}", call["call"].as_str().unwrap());
    assert_eq!(ask(operator, "POST", &format!("{path}/credentials"), JSON, "{}").await.0, 200);
    assert_eq!(ask(operator, "DELETE", &path, "", "").await.0, 204);
    assert_eq!(ask(operator, "DELETE", &path, "", "").await.0, 404);
    assert_eq!(ask(operator, "POST", &format!("{path}/credentials"), JSON, "{}").await.0, 404);
    assert_eq!(ask(operator, "DELETE", "/v1/calls/nonsense", "", "").await.0, 404);
}

#[tokio::test]
async fn pages_in_a_browser_on_the_same_machine_ask_in_vain() {
    let server = serve(settings()).await;
    let operator = server.operator().await;
    let body = json!({ "sub": "pseudonym-of-caller-a" }).to_string();
    let origin = format!("{JSON}Origin: https://evil.example\r\n");
    assert_eq!(ask(operator, "POST", "/v1/revoke", &origin, &body).await.0, 403);
    assert_eq!(ask(operator, "POST", "/v1/revoke", "Content-Type: text/plain\r\n", &body).await.0, 415);
    let mut stream = TcpStream::connect(operator).await.unwrap();
    let rebound = "GET /v1/waiting HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n";
    stream.write_all(rebound.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.ends_with("not from another page\n"), "{answer}");
}

#[tokio::test]
async fn an_operator_sees_who_waits_from_ten_people_on() {
    let server = serve(settings()).await;
    let operator = server.operator().await;
    let mut sockets = Vec::new();
    let mut told = Vec::new();
    for names in [0..9, 9..12] {
        if !told.is_empty() {
            // Until another may be taken.
            tokio::time::sleep(Duration::from_millis(5_100)).await;
        }
        for number in names {
            let mut socket = server.enter(&number.to_string()).await;
            // Each wants who is not there.
            say(&mut socket, json!({ "t": "queue", "gender": ["m"] })).await;
            hear(&mut socket, "queued").await;
            sockets.push(socket);
        }
        let (status, page) = ask(operator, "GET", "/v1/waiting", "", "").await;
        assert_eq!((status, &page["together"], &page["appointments"]), (200, &json!(10), &json!(0)));
        told.push(page["groups"].clone());
    }
    assert_eq!(told[0], json!([]));
    let row = &told[1][0];
    assert_eq!((&row["people"], &row["gender"], &row["cohort"]), (&json!(10), &json!(["m"]), &json!(["18+"])), "{row}");
}

#[tokio::test]
async fn w21_a_session_goes_on_over_another_socket() {
    let server = serve(settings()).await;
    let mut socket = server.connect().await;
    let now = Clock::start().now().unix;
    let token = minter().mint(now, 60, "a", &Profile::adult("pseudonym-of-caller-a"));
    say(&mut socket, json!({ "t": "hello", "v": [1], "token": token })).await;
    let welcome = hear(&mut socket, "welcome").await;
    say(&mut socket, json!({ "t": "queue" })).await;
    let n = hear(&mut socket, "queued").await["n"].clone();
    // Without a closing handshake, as when a cable is pulled and the kernel says so.
    drop(socket);
    let mut socket = server.connect().await;
    let resume = json!({ "sid": welcome["sid"], "key": welcome["key"], "n": n });
    say(&mut socket, json!({ "t": "hello", "v": [1], "resume": resume })).await;
    let again = hear(&mut socket, "welcome").await;
    assert_eq!((&again["sid"], &again["resumed"]["state"]), (&welcome["sid"], &json!("queued")));
    assert_ne!(again["key"], welcome["key"]);
    assert_eq!(server.signalling.counters().resumed(), 1);
}
