//! A real browser, driven by the protocol of its developer tools.
//!
//! Law: it is the installed Chromium with a profile of its own; a test that cannot find it fails
//! and says what to do. What it complains about (a blocked script, a style) is kept.

use std::collections::VecDeque;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use portcullis::crypto::digest::unbase64;

use super::replica::until;

const PATIENCE: Duration = Duration::from_mins(1);

/// One tab.
pub struct Tab {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: String,
    next: u64,
    events: VecDeque<Value>,
    /// What the browser complained about.
    pub complaints: Vec<String>,
    _browser: Browser,
    _profile: TempDir,
}

/// The process, which ends with the test.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Tab {
    /// A tab in which no page runs a script, as wide as it is told.
    pub async fn open(width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let browser = Command::new("chromium")
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--hide-scrollbars", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let browser = browser.unwrap_or_else(|error| {
            panic!("chromium does not start ({error}): run the tests with `make test`")
        });
        let browser = Browser(browser);
        // Port and path, one on each line, once it can be driven.
        let place = profile.path().join("DevToolsActivePort");
        let mut address = None;
        until(PATIENCE, "chromium can be driven", async || {
            let text = std::fs::read_to_string(&place).unwrap_or_default();
            address = text.split_once('\n').map(|(port, path)| format!("ws://127.0.0.1:{port}{path}"));
            address.is_some()
        })
        .await;
        let address = address.expect("it was waited for");
        let (socket, _) = connect_async(address).await.expect("a connection to chromium");
        let mut tab = Self {
            socket,
            session: String::new(),
            next: 0,
            events: VecDeque::new(),
            complaints: Vec::new(),
            _browser: browser,
            _profile: profile,
        };
        let target = tab.call("Target.createTarget", json!({"url": "about:blank"})).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = tab.call("Target.attachToTarget", attach).await;
        tab.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Log", "Runtime", "Network", "DOM"] {
            tab.call(&format!("{domain}.enable"), json!({})).await;
        }
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        tab.call("Emulation.setDeviceMetricsOverride", screen).await;
        tab.call("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
        tab
    }

    /// From here on pages may run what their own policy allows.
    pub async fn run_scripts(&mut self) {
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": false})).await;
    }

    /// Puts an authenticator in: it keeps passkeys, and its user is always there and always known.
    pub async fn hold_a_passkey(&mut self) {
        self.call("WebAuthn.enable", json!({})).await;
        let device = json!({"protocol": "ctap2", "transport": "internal", "hasResidentKey": true,
            "hasUserVerification": true, "isUserVerified": true, "automaticPresenceSimulation": true});
        self.call("WebAuthn.addVirtualAuthenticator", json!({"options": device})).await;
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(message.to_string())).await.unwrap();
        loop {
            let heard = self.hear().await;
            if heard["id"] == self.next {
                assert!(heard.get("error").is_none(), "{method}: {heard}");
                return heard["result"].clone();
            }
            self.events.push_back(heard);
        }
    }

    async fn hear(&mut self) -> Value {
        let message = timeout(PATIENCE, self.socket.next()).await.expect("chromium answers");
        let heard: Value = serde_json::from_str(message.unwrap().unwrap().to_text().unwrap()).unwrap();
        let is_complaint =
            matches!(heard["method"].as_str(), Some("Log.entryAdded" | "Runtime.consoleAPICalled"));
        if is_complaint || heard["method"] == "Page.javascriptDialogOpening" {
            self.complaints.push(heard["params"].to_string());
        }
        heard
    }

    /// Waits until a page has been loaded since the last wait.
    async fn loaded(&mut self) {
        loop {
            let heard = match self.events.pop_front() {
                Some(heard) => heard,
                None => self.hear().await,
            };
            if heard["method"] == "Page.loadEventFired" {
                return self.focused().await;
            }
        }
    }

    /// Waits until what asks for the focus has it, which it is given with the first picture after loading: what
    /// is typed before goes nowhere.
    async fn focused(&mut self) {
        let is_so = "!document.querySelector('[autofocus]') || document.activeElement.matches('[autofocus]')";
        for _ in 0..500 {
            if self.read(is_so).await == true {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("what asks for the focus of the page is not given it");
    }

    pub async fn go(&mut self, url: &str) {
        self.events.clear();
        self.call("Page.navigate", json!({"url": url})).await;
        self.loaded().await;
    }

    /// Presses a key: `Tab`, `Enter`, or a space as ` `.
    pub async fn press(&mut self, key: &str) {
        let (code, number, text) = match key {
            "Tab" => ("Tab", 9, ""),
            "Enter" => ("Enter", 13, "\r"),
            _ => ("Space", 32, " "),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({"type": kind, "key": key, "code": code, "windowsVirtualKeyCode": number});
            if kind == "keyDown" && !text.is_empty() {
                params["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", params).await;
        }
    }

    /// The same where it leads to another page.
    pub async fn press_on(&mut self, key: &str) {
        self.events.clear();
        self.press(key).await;
        self.loaded().await;
    }

    /// Types into what has the focus.
    pub async fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// Asks the page something, as developer tools do although its own scripts are off.
    pub async fn read(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true});
        self.call("Runtime.evaluate", asked).await["result"]["value"].clone()
    }

    /// Goes on by `Tab` until what has the focus says so.
    pub async fn tab_to(&mut self, text: &str) {
        let focused = "(document.activeElement.name || '') + ' ' + document.activeElement.textContent";
        for _ in 0..100 {
            if self.read(focused).await.as_str().is_some_and(|own| own.trim() == text) {
                return;
            }
            self.press("Tab").await;
        }
        panic!("no `{text}` can be reached by keyboard");
    }

    /// A picture of the whole page, as PNG.
    pub async fn picture(&mut self) -> Vec<u8> {
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        let shot = self.call("Page.captureScreenshot", whole).await;
        unbase64(shot["data"].as_str().unwrap()).unwrap()
    }
}
