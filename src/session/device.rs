//! Devices: what a client says about itself, or what its `User-Agent` lets us guess.
//!
//! Law: the wire form is the contract's `device_info` v1 (section 6), `v=1|os=linux|device=desktop`.
//! It is a hint for people ("was that me?") and for device limits, never a proof of anything.

use std::fmt;

use crate::crypto::digest::sha256_hex;

/// The longest `device_info` that is taken.
pub const MAX_LEN: usize = 255;
/// How much of a `User-Agent` is looked at.
const USER_AGENT_LEN: usize = 512;

const DEVICES: [&str; 6] = ["api-client", "bot", "desktop", "mobile", "server", "tablet"];
const ARCHITECTURES: [&str; 4] = ["arm", "arm64", "x64", "x86"];
/// What makes two logins the same device: versions and time zones change, these do not.
const IDENTITY: [&str; 5] = ["os", "device", "arch", "app", "runtime"];

/// A `device_info` text whose form was checked. Empty when nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device(String);

/// Everything that is wrong with a `device_info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub Vec<String>);

impl Device {
    /// Checks the form of a `device_info`. An empty one is fine.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let device = Self(text.to_owned());
        let problems = if text.is_empty() { Vec::new() } else { device.problems() };
        if problems.is_empty() { Ok(device) } else { Err(Refused(problems)) }
    }

    fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        match self.get("v") {
            None => found.push("Missing version field (v=1)".to_owned()),
            Some("1") => {}
            Some(other) => found.push(format!("Unsupported version: {other} (expected 1)")),
        }
        for (name, what, known) in
            [("device", "device type", &DEVICES[..]), ("arch", "architecture", &ARCHITECTURES[..])]
        {
            if let Some(value) = self.get(name).filter(|value| !known.contains(value)) {
                found.push(format!("Invalid {what}: {value}. Must be one of: {}", known.join(", ")));
            }
        }
        for (name, value) in self.pairs() {
            if value.is_empty() || !value.bytes().all(is_value_byte) {
                found.push(format!("Invalid characters in {name}={value}"));
            }
        }
        if self.0.len() > MAX_LEN {
            found.push(format!("Ensure this field has no more than {MAX_LEN} characters."));
        }
        found
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .split(['|', ';'])
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.pairs().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The wire form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same for two logins from the same device, as far as one can tell; 32 hex digits.
    #[must_use]
    pub fn key(&self) -> String {
        let parts: Vec<&str> = IDENTITY.iter().map(|name| self.get(name).unwrap_or_default()).collect();
        let mut digest = sha256_hex(parts.join("|").as_bytes());
        digest.truncate(32);
        digest
    }

    /// One line for people: `desktop — linux — chrome 124`.
    #[must_use]
    pub fn summary(&self) -> String {
        let versioned = |name: &str, version: &str| {
            let name = self.get(name)?;
            Some(self.get(version).map_or_else(|| name.to_owned(), |version| format!("{name} {version}")))
        };
        let parts = [
            self.get("device").map(str::to_owned),
            versioned("os", "osv"),
            versioned("app", "appv"),
            versioned("runtime", "rtv"),
        ];
        let known: Vec<String> = parts.into_iter().flatten().collect();
        if known.is_empty() { "Unknown device".to_owned() } else { known.join(" — ") }
    }

    /// What a `User-Agent` lets us guess.
    #[must_use]
    pub fn guess(user_agent: &str) -> Self {
        let end = user_agent.char_indices().nth(USER_AGENT_LEN).map_or(user_agent.len(), |(at, _)| at);
        let agent = Agent(&user_agent[..end]);
        if agent.0.is_empty() {
            return Self::default();
        }
        let runtime = agent.runtime();
        let device = match &runtime {
            Some(runtime) if runtime.is_client => "api-client",
            _ => agent.device(),
        };
        let mut groups = vec!["v=1".to_owned()];
        groups.extend(agent.system().map(|(os, version)| with_version("os", os, "osv", version.as_deref())));
        groups.push(format!("device={device}"));
        groups.extend(agent.architecture().map(|arch| format!("arch={arch}")));
        groups.extend(
            runtime.map(|runtime| with_version("runtime", runtime.name, "rtv", runtime.version.as_deref())),
        );
        Self(groups.join("|"))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_value_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-/: ".contains(&byte)
}

fn with_version(name: &str, value: &str, version_name: &str, version: Option<&str>) -> String {
    match version {
        Some(version) => format!("{name}={value};{version_name}={version}"),
        None => format!("{name}={value}"),
    }
}

struct Runtime {
    name: &'static str,
    version: Option<String>,
    is_client: bool,
}

/// The mark in a `User-Agent`, the name we give, and whether it is a client for programmers.
const RUNTIMES: [(&str, &str, bool); 9] = [
    ("PostmanRuntime", "postman", true),
    ("curl", "curl", true),
    ("insomnia", "insomnia", true),
    ("HTTPie", "httpie", true),
    ("Edg", "edge", false),
    ("OPR", "opera", false),
    ("Chrome", "chrome", false),
    ("Safari", "safari", false),
    ("Firefox", "firefox", false),
];

struct Agent<'a>(&'a str);

impl Agent<'_> {
    fn has(&self, mark: &str) -> bool {
        self.0.contains(mark)
    }

    fn has_any(&self, marks: &[&str]) -> bool {
        let folded = self.0.to_ascii_lowercase();
        marks.iter().any(|mark| folded.contains(mark))
    }

    /// The digits and dots (or underscores, as dots) that follow `mark`.
    fn version_after(&self, mark: &str) -> Option<String> {
        let (_, rest) = self.0.split_once(mark)?;
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(rest.len());
        let version = rest[..end].trim_matches(['.', '_']).replace('_', ".");
        (!version.is_empty()).then_some(version)
    }

    fn system(&self) -> Option<(&'static str, Option<String>)> {
        if self.has("Windows") {
            Some(("windows", self.version_after("Windows NT ")))
        } else if self.has("Android") {
            Some(("android", self.version_after("Android ")))
        } else if self.has("iPhone") || self.has("iPad") || self.has("iPod") {
            Some(("ios", self.version_after(" OS ")))
        } else if self.has("Mac OS X") {
            Some(("macos", self.version_after("Mac OS X ")))
        } else if self.has("CrOS") {
            Some(("chromeos", None))
        } else if self.has("Linux") {
            Some(("linux", None))
        } else {
            None
        }
    }

    fn device(&self) -> &'static str {
        if self.has_any(&["bot", "crawler", "spider"]) {
            "bot"
        } else if self.has("iPad") || self.has("Tablet") || (self.has("Android") && !self.has("Mobile")) {
            "tablet"
        } else if self.has("iPhone") || self.has("iPod") || self.has("Android") || self.has("Mobile") {
            "mobile"
        } else {
            "desktop"
        }
    }

    fn architecture(&self) -> Option<&'static str> {
        if self.has_any(&["x86_64", "win64", "x64", "amd64", "wow64"]) {
            Some("x64")
        } else if self.has_any(&["aarch64", "arm64"]) {
            Some("arm64")
        } else if self.has_any(&["armv"]) {
            Some("arm")
        } else if self.has_any(&["i686", "i386", "x86"]) {
            Some("x86")
        } else {
            None
        }
    }

    fn runtime(&self) -> Option<Runtime> {
        let &(mark, name, is_client) = RUNTIMES.iter().find(|(mark, ..)| self.has(&format!("{mark}/")))?;
        let version = match name {
            // Safari counts its WebKit; the version that people know stands elsewhere.
            "safari" => self.version_after("Version/"),
            _ if is_client => self.version_after(&format!("{mark}/")),
            _ => self.version_after(&format!("{mark}/")).and_then(|v| v.split('.').next().map(str::to_owned)),
        };
        Some(Runtime { name, version, is_client })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the contract's section 32.
    #[test]
    fn user_agents_are_read_as_the_contract_shows() {
        for (agent, info, summary) in [
            ("", "", "Unknown device"),
            ("curl/8.5.0", "v=1|device=api-client|runtime=curl;rtv=8.5.0", "api-client — curl 8.5.0"),
            (
                "PostmanRuntime/7.36.0",
                "v=1|device=api-client|runtime=postman;rtv=7.36.0",
                "api-client — postman 7.36.0",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36",
                "v=1|os=windows;osv=10.0|device=desktop|arch=x64|runtime=chrome;rtv=122",
                "desktop — windows 10.0 — chrome 122",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36 Edg/122.0.2365.80",
                "v=1|os=windows;osv=10.0|device=desktop|arch=x64|runtime=edge;rtv=122",
                "desktop — windows 10.0 — edge 122",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 16_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.3 Mobile/15E148 Safari/604.1",
                "v=1|os=ios;osv=16.3|device=mobile|runtime=safari;rtv=16.3",
                "mobile — ios 16.3 — safari 16.3",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/123.0.0.0 Mobile Safari/537.36",
                "v=1|os=android;osv=14|device=mobile|runtime=chrome;rtv=123",
                "mobile — android 14 — chrome 123",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
                "v=1|os=macos;osv=10.15.7|device=desktop|runtime=safari;rtv=17.4",
                "desktop — macos 10.15.7 — safari 17.4",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:124.0) Gecko/20100101 Firefox/124.0",
                "v=1|os=linux|device=desktop|arch=x64|runtime=firefox;rtv=124",
                "desktop — linux — firefox 124",
            ),
            ("Googlebot/2.1 (+http://www.google.com/bot.html)", "v=1|device=bot", "bot"),
            ("reqwest/0.12", "v=1|device=desktop", "desktop"),
        ] {
            let device = Device::guess(agent);
            assert_eq!((device.as_str(), device.summary().as_str()), (info, summary), "{agent}");
            assert_eq!(Device::parse(device.as_str()), Ok(device));
        }
    }

    #[test]
    fn what_is_wrong_with_a_device_info_is_said_in_the_words_of_the_contract() {
        for (text, problem) in [
            ("os=linux", "Missing version field (v=1)"),
            ("v=2|os=linux", "Unsupported version: 2 (expected 1)"),
            ("v=1|arch=mips", "Invalid architecture: mips. Must be one of: arm, arm64, x64, x86"),
            ("v=1|app=a@b", "Invalid characters in app=a@b"),
        ] {
            assert_eq!(Device::parse(text), Err(Refused(vec![problem.to_owned()])), "{text}");
        }
        for text in ["v=1|os=", "v=1|os", "v=1|app=a\nb", "v=1|device=toaster"] {
            assert!(Device::parse(text).is_err(), "{text}");
        }
        assert!(Device::parse(&format!("v=1|app={}", "a".repeat(250))).is_err());
    }

    #[test]
    fn a_device_stays_the_same_when_its_versions_change() {
        let key = |text: &str| Device::parse(text).unwrap().key();
        let now = key(
            "v=1|os=windows;osv=11|device=desktop|arch=x64|app=shop;appv=1.4.2|runtime=chrome;rtv=122|tz=Europe/Paris",
        );
        let later = key(
            "v=1|os=windows;osv=12|device=desktop|arch=x64|app=shop;appv=2.0|runtime=chrome;rtv=130|tz=Asia/Tokyo",
        );
        assert_eq!((now == later, now.len()), (true, 32));
        assert_ne!(now, key("v=1|os=linux|device=desktop|arch=x64|app=shop|runtime=chrome"));
        assert_ne!(key(""), now);
    }

    #[test]
    fn a_long_or_odd_user_agent_does_no_harm() {
        for agent in ["é".repeat(600), "Version/Safari/".to_owned(), "Windows NT ;Chrome/".to_owned()] {
            assert!(Device::parse(Device::guess(&agent).as_str()).is_ok(), "{agent}");
        }
    }
}
