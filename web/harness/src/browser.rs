//! A headless Chromium, driven over its debugging pipe: the Chrome `DevTools` protocol, JSON messages that
//! end in a zero byte, read by the browser from its file descriptor 3 and written to 4.
//!
//! Unlike the command line's `--screenshot` and log it can wait for the page, press its buttons and hear its
//! console and that of its workers; and unlike a debugging port it needs no WebSocket.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Result;

/// How long the browser may take to answer a request.
const ANSWER: Duration = Duration::from_secs(60);

pub(crate) struct Browser {
    process: Child,
    requests: Option<ChildStdin>,
    messages: Receiver<Value>,
    requested: u64,
    /// What the consoles of all pages and workers have shown as an error.
    problems: Vec<String>,
    /// Events of other kinds that nobody has asked for yet.
    events: VecDeque<Value>,
    /// Goes with the browser.
    _profile: TempDir,
}

/// A page, by the session that the browser has given it.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    session: String,
}

/// What the browser offers through WebGPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adapter {
    /// Chromium's own software adapter, by name, so that results can be compared between machines.
    SwiftShader,
    /// Whatever it trusts: without a GPU nothing.
    Trusted,
}

impl Adapter {
    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::SwiftShader => &["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
            Self::Trusted => &["--disable-gpu"],
        }
    }
}

/// What a page is shown on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    pub(crate) name: &'static str,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Device pixels to a pixel of CSS.
    pub(crate) scale: u32,
    pub(crate) is_phone: bool,
    pub(crate) is_dark: bool,
}

impl Browser {
    /// Starts `program`, with or without an adapter for WebGPU. What it writes to its standard error goes to
    /// `log`.
    pub(crate) fn start(program: &Path, adapter: Adapter, log: &Path) -> Result<Self> {
        let failed =
            |error: std::io::Error| format!("cannot start the browser {}: {error}", program.display());
        let profile = tempfile::tempdir().map_err(failed)?;
        let log = File::create(log).map_err(|error| format!("cannot write {}: {error}", log.display()))?;
        // The shell puts our pipes where the browser looks for them: `Command` can only replace descriptors 0
        // to 2.
        let mut process = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >&2"#])
            .arg(program)
            .args(ARGUMENTS)
            .args(adapter.arguments())
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        let requests = process.stdin.take();
        let Some(output) = process.stdout.take() else { return Err("the browser has no pipe".to_owned()) };
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            for message in BufReader::new(output).split(0) {
                let message = message.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
                if message.is_none_or(|message: Value| sender.send(message).is_err()) {
                    break;
                }
            }
        });
        Ok(Self {
            process,
            requests,
            messages,
            requested: 0,
            problems: Vec::new(),
            events: VecDeque::new(),
            _profile: profile,
        })
    }

    /// What has shown as an error on a console since the last call.
    pub(crate) fn take_problems(&mut self) -> Vec<String> {
        std::mem::take(&mut self.problems)
    }

    /// Name and version, as the browser gives them.
    pub(crate) fn version(&mut self) -> Result<String> {
        let version = self.call(None, "Browser.getVersion", json!({}))?;
        Ok(version["product"].as_str().unwrap_or_default().to_owned())
    }

    /// Lets pages save what they offer for download in `directory`, under the name that they give it.
    pub(crate) fn allow_downloads(&mut self, directory: &Path) -> Result<()> {
        // The browser refuses paths with `..` in them.
        let directory = directory
            .canonicalize()
            .map_err(|error| format!("cannot resolve {}: {error}", directory.display()))?;
        let parameters = json!({ "behavior": "allow", "downloadPath": directory.display().to_string(), "eventsEnabled": true });
        self.call(None, "Browser.setDownloadBehavior", parameters).map(drop)
    }

    /// Waits until a download has ended.
    pub(crate) fn wait_for_download(&mut self) -> Result<()> {
        let ended = self.wait_for(Duration::from_secs(30), |event| {
            event["method"] == "Browser.downloadProgress" && event["params"]["state"] != "inProgress"
        })?;
        match ended["params"]["state"].as_str() {
            Some("completed") => Ok(()),
            state => Err(format!("the download of the report has ended as {state:?}")),
        }
    }

    /// Opens an empty page. `script` runs before any of the pages that it will show.
    pub(crate) fn open(&mut self, script: Option<&str>) -> Result<Page> {
        let target = self.call(None, "Target.createTarget", json!({ "url": "about:blank" }))?;
        let parameters = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call(None, "Target.attachToTarget", parameters)?;
        let session = attached["sessionId"].as_str().unwrap_or_default().to_owned();
        let page = Page { session };
        self.listen(&page.session)?;
        self.ask(&page, "Page.enable", json!({}))?;
        if let Some(script) = script {
            self.ask(&page, "Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }))?;
        }
        Ok(page)
    }

    /// Hears the console of a page or worker, and of the workers that it starts. Waits for no answer: those
    /// of others may be on their way.
    fn listen(&mut self, session: &str) -> Result<()> {
        // A worker waits until it is heard, so that nothing that it says is missed.
        let attach = json!({ "autoAttach": true, "waitForDebuggerOnStart": true, "flatten": true });
        for (method, parameters) in
            [("Runtime.enable", json!({})), ("Log.enable", json!({})), ("Target.setAutoAttach", attach)]
        {
            self.send(Some(session), method, parameters)?;
        }
        Ok(())
    }

    pub(crate) fn show(&mut self, page: &Page, screen: Screen) -> Result<()> {
        let Screen { width, height, scale, is_phone, is_dark, .. } = screen;
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_phone });
        self.ask(page, "Emulation.setDeviceMetricsOverride", metrics)?;
        let scheme = if is_dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.ask(page, "Emulation.setEmulatedMedia", media).map(drop)
    }

    pub(crate) fn navigate(&mut self, page: &Page, address: &str) -> Result<()> {
        let answer = self.ask(page, "Page.navigate", json!({ "url": address }))?;
        match answer["errorText"].as_str() {
            Some(error) => Err(format!("the browser cannot load {address}: {error}")),
            None => Ok(()),
        }
    }

    /// The value of an expression of JavaScript in a page.
    pub(crate) fn evaluate(&mut self, page: &Page, expression: &str) -> Result<Value> {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask(page, "Runtime.evaluate", parameters)?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(format!("{expression} has thrown in the page: {}", exception(details))),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// The whole page as PNG.
    pub(crate) fn screenshot(&mut self, page: &Page) -> Result<Vec<u8>> {
        let parameters = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.ask(page, "Page.captureScreenshot", parameters)?;
        let data = answer["data"].as_str().unwrap_or_default();
        base64::engine::general_purpose::STANDARD
            .decode(data)
            .map_err(|error| format!("the browser's screenshot is no base64: {error}"))
    }

    fn ask(&mut self, page: &Page, method: &str, parameters: Value) -> Result<Value> {
        self.call(Some(&page.session), method, parameters)
    }

    /// Sends a request and waits for its result.
    fn call(&mut self, session: Option<&str>, method: &str, parameters: Value) -> Result<Value> {
        let id = self.send(session, method, parameters)?;
        let answer = self.receive(ANSWER, |message| message["id"] == id)?;
        match answer.get("error") {
            Some(error) => Err(format!("the browser refuses {method}: {}", error["message"])),
            None => Ok(answer["result"].clone()),
        }
    }

    fn send(&mut self, session: Option<&str>, method: &str, parameters: Value) -> Result<u64> {
        self.requested += 1;
        let mut request = json!({ "id": self.requested, "method": method, "params": parameters });
        if let Some(session) = session {
            request["sessionId"] = session.into();
        }
        let mut bytes = request.to_string().into_bytes();
        bytes.push(0);
        let Some(requests) = &mut self.requests else { return Err("the browser is closed".to_owned()) };
        requests.write_all(&bytes).map_err(|_| self.has_ended())?;
        Ok(self.requested)
    }

    /// Hears what the browser has to say for some time.
    pub(crate) fn pause(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match self.messages.recv_timeout(left) {
                Ok(message) => self.hear(message)?,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Err(self.has_ended()),
            }
        }
        Ok(())
    }

    /// The first event that `is_wanted`, past ones that nobody has asked for included.
    fn wait_for(&mut self, limit: Duration, is_wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        match self.events.iter().position(&is_wanted).and_then(|at| self.events.remove(at)) {
            Some(event) => Ok(event),
            None => self.receive(limit, is_wanted),
        }
    }

    /// The first message from now on that `is_wanted`.
    fn receive(&mut self, limit: Duration, is_wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(left) {
                Ok(message) if is_wanted(&message) => return Ok(message),
                Ok(message) => self.hear(message)?,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("the browser has not answered within {} s", limit.as_secs()));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.has_ended()),
            }
        }
    }

    /// Takes note of a message that nobody waits for.
    fn hear(&mut self, message: Value) -> Result<()> {
        let parameters = &message["params"];
        match message["method"].as_str() {
            Some("Target.attachedToTarget") => {
                let session = parameters["sessionId"].as_str().unwrap_or_default().to_owned();
                // Pages that this program opens are attached by `open`.
                if parameters["targetInfo"]["type"] != "page" {
                    self.listen(&session)?;
                    self.send(Some(&session), "Runtime.runIfWaitingForDebugger", json!({}))?;
                }
            }
            Some("Browser.downloadProgress") => self.events.push_back(message),
            _ => self.problems.extend(problem(&message)),
        }
        Ok(())
    }

    fn has_ended(&self) -> String {
        "the browser has ended by itself: its log says why".to_owned()
    }
}

/// The error that an event tells of, if it does.
fn problem(event: &Value) -> Option<String> {
    let parameters = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(exception(&parameters["exceptionDetails"])),
        "Runtime.consoleAPICalled" if matches!(parameters["type"].as_str(), Some("error" | "assert")) => {
            let arguments = parameters["args"].as_array()?;
            let text = |argument: &Value| match (&argument["value"], &argument["description"]) {
                (Value::String(text), _) | (Value::Null, Value::String(text)) => text.clone(),
                (value, _) => value.to_string(),
            };
            Some(arguments.iter().map(text).collect::<Vec<_>>().join(" "))
        }
        "Log.entryAdded" if parameters["entry"]["level"] == "error" => {
            let entry = &parameters["entry"];
            let place = entry["url"].as_str().map_or(String::new(), |url| format!(" ({url})"));
            Some(format!("{}{place}", entry["text"].as_str().unwrap_or_default()))
        }
        "Inspector.targetCrashed" => Some("the page has crashed".to_owned()),
        _ => None,
    }
}

/// An exception in words, with its stack where it has one.
fn exception(details: &Value) -> String {
    let text = [&details["exception"]["description"], &details["text"]].into_iter().find_map(Value::as_str);
    text.unwrap_or("an exception without a text").to_owned()
}

impl Drop for Browser {
    fn drop(&mut self) {
        let asked = self.send(None, "Browser.close", json!({})).is_ok();
        self.requests = None;
        let until = Instant::now() + Duration::from_secs(if asked { 10 } else { 0 });
        while Instant::now() < until {
            if let Ok(Some(_)) = self.process.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What makes Chromium quiet and quick.
const ARGUMENTS: &[&str] = &[
    "--headless",
    "--remote-debugging-pipe",
    // A container's root may not open the sandbox, and the page is our own.
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--enable-logging=stderr",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_consoles_are_problems() {
        for (event, expected) in [
            (
                json!({ "method": "Runtime.consoleAPICalled",
                    "params": { "type": "error", "args": [{ "value": "a" }, { "value": 3 }] } }),
                Some("a 3"),
            ),
            (
                json!({ "method": "Runtime.consoleAPICalled",
                    "params": { "type": "error", "args": [{ "description": "Error: b" }] } }),
                Some("Error: b"),
            ),
            (
                json!({ "method": "Runtime.consoleAPICalled",
                    "params": { "type": "log", "args": [{ "value": "a" }] } }),
                None,
            ),
            (
                json!({ "method": "Runtime.exceptionThrown", "params": { "exceptionDetails":
                    { "text": "Uncaught", "exception": { "description": "TypeError: c" } } } }),
                Some("TypeError: c"),
            ),
            (
                json!({ "method": "Log.entryAdded", "params":
                    { "entry": { "level": "error", "text": "404", "url": "http://a/b" } } }),
                Some("404 (http://a/b)"),
            ),
            (
                json!({ "method": "Log.entryAdded", "params": { "entry": { "level": "warning", "text": "d" } } }),
                None,
            ),
            (json!({ "id": 4, "result": {} }), None),
        ] {
            assert_eq!(problem(&event).as_deref(), expected, "{event}");
        }
    }
}
