//! Rows of hostile.md §6 that need a real socket and are about bytes.

use super::*;

async fn closes_with(bytes: &[u8]) -> u16 {
    let server = serve(settings()).await;
    let mut socket = server.connect().await;
    socket.get_mut().write_all(bytes).await.unwrap();
    hear_close(&mut socket).await
}

#[tokio::test]
async fn w03_endless_headers_are_cut_off() {
    let server = serve(settings()).await;
    let long = format!("GET /v1/ws HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = "X-One: of many\r\n".repeat(10_000);
    let many = format!("GET /v1/ws HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    for request in [long, many] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // The server may stop reading before everything is written.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    server.connect().await;
}

#[tokio::test]
async fn w04_unmasked_frames_are_closed_with_1002() {
    assert_eq!(closes_with(&[0x81, 0x02, b'{', b'}']).await, 1002);
}

#[tokio::test]
async fn w05_reserved_bits_opcodes_and_broken_control_frames_are_closed_with_1002() {
    for frame in [raw_frame(0xC1, b"{}"), raw_frame(0x83, b"{}"), raw_frame(0x8B, b""), raw_frame(0x09, b"")] {
        assert_eq!(closes_with(&frame).await, 1002, "{frame:x?}");
    }
    let mut long_ping = vec![0x89, 0xFE, 0, 126, 0, 0, 0, 0];
    long_ping.extend([0; 126]);
    assert_eq!(closes_with(&long_ping).await, 1002);
}

#[tokio::test]
async fn w06_what_is_not_utf8_is_closed_with_1007_even_in_pieces() {
    let mut split = raw_frame(0x01, &[0xE2, 0x82]);
    split.extend(raw_frame(0x80, &[0x28]));
    for frame in [raw_frame(0x81, &[0xFF, 0xFE]), raw_frame(0x81, &[0xED, 0xA0, 0x80]), split] {
        assert_eq!(closes_with(&frame).await, 1007, "{frame:x?}");
    }
}

#[tokio::test]
async fn w08_compression_is_not_agreed_on_and_a_compressed_frame_is_closed() {
    let server = serve(settings()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: pair.v1\r\n\
         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        assert!(timeout(PATIENCE, stream.read_buf(&mut answer)).await.unwrap().unwrap() > 0);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(!answer.to_ascii_lowercase().contains("sec-websocket-extensions"), "{answer}");
    // RSV1, which only an agreed extension may set (RFC 7692 §6).
    assert_eq!(closes_with(&raw_frame(0xC1, &[0xAA, 0x56, 0x02, 0x00])).await, 1002);
}
