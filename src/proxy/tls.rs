//! The certificate that clients see.
//!
//! Law: a certificate that cannot be used never replaces one that can, and is never a reason to
//! panic. New handshakes use the newest good one; open connections keep theirs.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::listeners::tls::Acceptor;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The two PEM texts of a certificate, as their files hold them.
#[derive(Clone, PartialEq, Eq)]
pub struct PemPair {
    pub chain: Vec<u8>,
    pub key: Vec<u8>,
}

/// Why a certificate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// Not PEM, or no certificate in it.
    Chain,
    /// Not PEM, not a private key, or not the key of this certificate.
    Key { cause: String },
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain => f.write_str("the certificate file holds no certificate in PEM"),
            Self::Key { cause } => write!(f, "the key file does not fit the certificate: {cause}"),
        }
    }
}

impl std::error::Error for Unusable {}

/// A certificate and its key, which can be replaced while clients connect.
#[derive(Debug)]
pub struct Certificate {
    current: ArcSwap<CertifiedKey>,
}

impl Certificate {
    /// # Errors
    /// [`Unusable`].
    pub fn new(pair: &PemPair) -> Result<Arc<Self>, Unusable> {
        Ok(Arc::new(Self { current: ArcSwap::from_pointee(certified(pair)?) }))
    }

    /// Uses `pair` for handshakes from now on.
    ///
    /// # Errors
    /// [`Unusable`]; the certificate in use stays. A half-written pair ends here.
    pub fn replace(&self, pair: &PemPair) -> Result<(), Unusable> {
        self.current.store(Arc::new(certified(pair)?));
        Ok(())
    }

    /// Accepts TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    pub(super) fn acceptor(self: &Arc<Self>) -> Result<Acceptor, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Self>::clone(self));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Acceptor::from_server_config(Arc::new(config)))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn certified(pair: &PemPair) -> Result<CertifiedKey, Unusable> {
    let bad_key = |cause: &dyn fmt::Display| Unusable::Key { cause: cause.to_string() };
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&pair.chain).collect::<Result<_, _>>().map_err(|_| Unusable::Chain)?;
    if chain.is_empty() {
        return Err(Unusable::Chain);
    }
    let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|cause| bad_key(&cause))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|cause| bad_key(&cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> PemPair {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        PemPair { chain: made.cert.pem().into_bytes(), key: made.signing_key.serialize_pem().into_bytes() }
    }

    #[test]
    fn a_bad_certificate_never_replaces_a_good_one() {
        let (first, second) = (pair(), pair());
        let certificate = Certificate::new(&first).unwrap();
        let before = certificate.current.load_full();
        let mixed = PemPair { chain: first.chain.clone(), key: second.key.clone() };
        assert!(matches!(certificate.replace(&mixed), Err(Unusable::Key { .. })));
        let half = PemPair { chain: second.chain[..40].to_vec(), key: second.key.clone() };
        assert_eq!(certificate.replace(&half), Err(Unusable::Chain));
        assert!(Arc::ptr_eq(&before, &certificate.current.load_full()));
        certificate.replace(&second).unwrap();
        assert!(!Arc::ptr_eq(&before, &certificate.current.load_full()));
    }
}
