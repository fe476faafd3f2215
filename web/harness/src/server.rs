//! A web server for the files of one directory, on 127.0.0.1 alone.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::Result;

pub(crate) struct Server {
    address: SocketAddr,
    thread: JoinHandle<()>,
}

impl Server {
    /// Serves `root` from now on.
    pub(crate) fn start(root: &Path, port: u16) -> Result<Self> {
        let failed = |error: io::Error| format!("cannot serve on port {port} of 127.0.0.1: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let root = root.to_owned();
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let root = root.clone();
                // A browser opens connections that it may never use: none may keep others waiting.
                thread::spawn(move || {
                    let _ = answer(&stream, &root);
                });
            }
        });
        Ok(Self { address, thread })
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Never returns unless the server fails.
    pub(crate) fn wait(self) {
        let _ = self.thread.join();
    }
}

/// Reads one request, answers it and closes the connection.
fn answer(mut stream: &TcpStream, root: &Path) -> io::Result<()> {
    const MOST_HEADERS: usize = 100;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // The browser must have been read to the end before the connection is closed.
    for header in lines.take(MOST_HEADERS) {
        if header?.is_empty() {
            break;
        }
    }
    let mut words = request.split(' ');
    let (status, kind, body) = match (words.next(), words.next()) {
        (Some("GET"), Some(target)) => match read(root, target) {
            Some((kind, body)) => ("200 OK", kind, body),
            None => ("404 Not Found", "text/plain", b"not found".to_vec()),
        },
        _ => ("405 Method Not Allowed", "text/plain", b"only GET".to_vec()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}

/// The file that a request's target names, and its type.
fn read(root: &Path, target: &str) -> Option<(&'static str, Vec<u8>)> {
    let path = target.split(['?', '#']).next()?.strip_prefix('/')?;
    let path = PathBuf::from(if path.is_empty() { "index.html" } else { path });
    // Neither upwards nor absolute: only what lies in the directory.
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let kind = match path.extension()?.to_str()? {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        // Browsers compile it while it arrives only under this type.
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    };
    Some((kind, fs::read(root.join(path)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn ask(address: &SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{request}\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn files_of_the_directory_are_served_and_no_others() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("root");
        fs::create_dir_all(root.join("generated")).unwrap();
        fs::write(scratch.path().join("secret.js"), "secret").unwrap();
        fs::write(root.join("index.html"), "the page").unwrap();
        fs::write(root.join("generated/a.wasm"), "code").unwrap();
        let server = Server::start(&root, 0).unwrap();

        let page = ask(&server.address, "GET /?cases=all HTTP/1.1");
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with("\r\n\r\nthe page"), "{page}");
        assert!(page.contains("Content-Type: text/html"), "{page}");
        assert!(
            ask(&server.address, "GET /generated/a.wasm HTTP/1.1").contains("Content-Type: application/wasm")
        );
        for target in ["/../secret.js", "//etc/passwd", "/absent.js", "/generated", "secret.js"] {
            let answer = ask(&server.address, &format!("GET {target} HTTP/1.1"));
            assert!(answer.starts_with("HTTP/1.1 404 "), "{target}: {answer}");
        }
        assert!(ask(&server.address, "POST / HTTP/1.1").starts_with("HTTP/1.1 405 "));
        assert!(ask(&server.address, "nonsense").starts_with("HTTP/1.1 405 "));
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let message = Server::start(Path::new("."), port).err().unwrap();
        assert!(message.contains(&port.to_string()), "{message}");
    }
}
