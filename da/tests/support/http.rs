//! A small HTTP/1.1 server on loopback whose answers a test makes.
#![allow(dead_code)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// One request as a test sees it.
pub struct Request {
    /// Method and path with its query.
    pub line: String,
    pub authorization: Option<String>,
    pub body: String,
}

type Answer = dyn Fn(&Request) -> (u16, String) + Send + Sync;

/// Serves until the process ends, and gives the URL.
pub fn serve(answer: impl Fn(&Request) -> (u16, String) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer: Arc<Answer> = Arc::new(answer);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || converse(socket, &*answer));
        }
    });
    url
}

fn converse(socket: TcpStream, answer: &Answer) {
    let mut reader = BufReader::new(&socket);
    while let Some(request) = next_request(&mut reader) {
        let (status, body) = answer(&request);
        let length = body.len();
        let head = format!("HTTP/1.1 {status} -\r\ncontent-length: {length}\r\n\r\n");
        let mut writer = &socket;
        if writer.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn next_request(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(": ") else {
            break;
        };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        line: line.trim().trim_end_matches(" HTTP/1.1").to_owned(),
        authorization,
        body: String::from_utf8(body).ok()?,
    })
}
