//! One throw-away certificate for all servers of a run.

use std::sync::OnceLock;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;

/// Certificate and key of `localhost`.
pub struct Certificate {
    /// For the clients' trust store.
    pub der: CertificateDer<'static>,
    /// For nginx.
    pub pem: String,
    /// The private key, for nginx.
    pub key_pem: String,
}

/// The certificate of this run.
pub fn certificate() -> &'static Certificate {
    static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
    CERTIFICATE.get_or_init(|| {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".into()])
                .expect("a self-signed certificate");
        Certificate {
            der: cert.der().clone(),
            pem: cert.pem(),
            key_pem: signing_key.serialize_pem(),
        }
    })
}
