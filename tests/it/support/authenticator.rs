//! An authenticator in software: a key pair, a counter, and everything that a hostile one may say.
//!
//! Law: what it does not say otherwise is what an honest device on an honest page says (WebAuthn
//! level 3, sections 5.8.1, 6.1 and 6.5; `none` attestation).

use portcullis::crypto::digest::{base64url, sha256, unbase64url};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

pub const ORIGIN: &str = "https://app.example.com";
pub const RP_ID: &str = "example.com";

/// Somebody touched it.
pub const PRESENT: u8 = 0x01;
/// It knows who.
pub const VERIFIED: u8 = 0x04;
const ATTESTED: u8 = 0x40;

/// One passkey in a device.
pub struct Authenticator {
    key: EcdsaKeyPair,
    pub credential: Vec<u8>,
    pub counter: u32,
    /// Whose it is, as the registration said.
    pub handle: Vec<u8>,
}

/// What is said otherwise.
#[derive(Debug, Clone)]
pub struct Twist {
    pub origin: &'static str,
    pub rp_id: &'static str,
    /// In place of `webauthn.create` or `webauthn.get`.
    pub kind: Option<&'static str>,
    /// [`PRESENT`] and [`VERIFIED`].
    pub flags: u8,
    /// As a frame on another site says it.
    pub is_cross_origin: bool,
    pub challenge: Option<String>,
    /// COSE; -7 is ES256.
    pub algorithm: i8,
    /// `None`: as it was registered; empty: none at all.
    pub handle: Option<Vec<u8>>,
    pub is_signature_bad: bool,
}

impl Default for Twist {
    fn default() -> Self {
        Self {
            origin: ORIGIN,
            rp_id: RP_ID,
            kind: None,
            flags: PRESENT | VERIFIED,
            is_cross_origin: false,
            challenge: None,
            algorithm: -7,
            handle: None,
            is_signature_bad: false,
        }
    }
}

impl Authenticator {
    pub fn new() -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, made.as_ref(), &random).unwrap();
        let mut credential = vec![0; 32];
        random.fill(&mut credential).unwrap();
        Self { key, credential, counter: 0, handle: Vec::new() }
    }

    /// Answers `navigator.credentials.create` with these options.
    pub fn create(&mut self, options: &Value, twist: &Twist) -> Value {
        let options = read(options);
        self.handle = unbase64url(options["user"]["id"].as_str().unwrap()).unwrap();
        let mut data = self.head(twist, ATTESTED);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.credential.len()).unwrap().to_be_bytes());
        data.extend(&self.credential);
        data.extend(self.cose(twist.algorithm));
        let mut object = vec![0xa3, 0x63];
        object.extend(b"fmt\x64none\x67attStmt\xa0\x68authData\x59");
        object.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        object.extend(data);
        let id = base64url(&self.credential);
        json!({
            "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
            "response": {
                "attestationObject": base64url(&object),
                "clientDataJSON": base64url(&client(&options, "webauthn.create", twist)),
                "transports": ["internal", "hybrid"],
            },
        })
    }

    /// Answers `navigator.credentials.get` with these options, and counts on.
    pub fn get(&mut self, options: &Value, twist: &Twist) -> Value {
        self.counter += 1;
        self.get_again(options, twist)
    }

    /// The same without counting on.
    pub fn get_again(&self, options: &Value, twist: &Twist) -> Value {
        let client = client(&read(options), "webauthn.get", twist);
        let data = self.head(twist, 0);
        let signed = [&data[..], &sha256(&client)].concat();
        let mut signature = self.key.sign(&SystemRandom::new(), &signed).unwrap().as_ref().to_vec();
        if twist.is_signature_bad {
            *signature.last_mut().unwrap() ^= 1;
        }
        let handle = twist.handle.as_ref().unwrap_or(&self.handle);
        let id = base64url(&self.credential);
        json!({
            "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
            "response": {
                "authenticatorData": base64url(&data),
                "clientDataJSON": base64url(&client),
                "signature": base64url(&signature),
                "userHandle": (!handle.is_empty()).then(|| base64url(handle)),
            },
        })
    }

    fn head(&self, twist: &Twist, flags: u8) -> Vec<u8> {
        let mut data = sha256(twist.rp_id.as_bytes()).to_vec();
        data.push(flags | twist.flags);
        data.extend(self.counter.to_be_bytes());
        data
    }

    /// The public key as COSE writes it: EC2, P-256.
    fn cose(&self, algorithm: i8) -> Vec<u8> {
        let point = self.key.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        // Negative numbers up to -24 fit into one byte, down to -256 into two.
        let number = u8::try_from(-1 - i16::from(algorithm)).unwrap();
        let mut key = vec![0xa5, 0x01, 0x02, 0x03];
        if number < 24 {
            key.push(0x20 | number);
        } else {
            key.extend([0x38, number]);
        }
        key.extend([0x20, 0x01, 0x21, 0x58, 0x20]);
        key.extend(x);
        key.extend([0x22, 0x58, 0x20]);
        key.extend(y);
        key
    }
}

/// Options come as text, as clients of the API get them.
fn read(options: &Value) -> Value {
    serde_json::from_str(options.as_str().expect("options are text")).unwrap()
}

fn client(options: &Value, kind: &str, twist: &Twist) -> Vec<u8> {
    let challenge = twist.challenge.as_deref().unwrap_or_else(|| options["challenge"].as_str().unwrap());
    let data = json!({
        "type": twist.kind.unwrap_or(kind), "challenge": challenge, "origin": twist.origin,
        "crossOrigin": twist.is_cross_origin,
    });
    data.to_string().into_bytes()
}
