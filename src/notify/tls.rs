//! Whose certificates are believed when the gateway itself calls out, or is called by its command line.
//!
//! Law: those that the system trusts, and those that are named; there is no way to
//! believe anyone's.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Why nothing can be called.
pub type Unusable = &'static str;

/// The TLS of a client; `authorities` are PEM.
///
/// # Errors
/// [`Unusable`].
pub fn client(authorities: Option<&[u8]>) -> Result<ClientConfig, Unusable> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if let Some(pem) = authorities {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| "`ca_file` is not PEM")?;
            roots.add(certificate).map_err(|_| "`ca_file` holds what is not a certificate")?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.map_err(|_| "TLS cannot be used")?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
