//! TLS for OTLP: whom to trust, and who we are.
//!
//! Enters: PEM files. Leaves: a connector for hyper. Refuses: files without what they should hold, naming the option,
//! and a certificate without its key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files {
    /// Authorities to trust; the system's where there is none.
    pub authorities: Option<PathBuf>,
    /// Our certificate chain.
    pub certificate: Option<PathBuf>,
    /// Our private key.
    pub key: Option<PathBuf>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read, or does not hold what it should.
    #[error("cannot read {what} from {path} (--{option}): {reason}", path = path.display())]
    File {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The option that named it.
        option: &'static str,
        /// Why.
        reason: String,
    },
    /// One of two.
    #[error(
        "a client certificate needs its key, and a key its certificate: give both --otlp-client-certificate and --otlp-client-key"
    )]
    Half,
    /// The system trusts nobody.
    #[error("the system has no certificate authorities: name some with --otlp-certificate. {0}")]
    NoAuthorities(String),
    /// The files do not fit together.
    #[error("the files for TLS do not fit together: {0}")]
    Unfit(#[from] rustls::Error),
}

impl Files {
    /// A connector for `http` and `https`; the files matter for `https` only.
    pub(super) fn connector(&self, secure: bool) -> Result<HttpsConnector<HttpConnector>, TlsError> {
        let config = if secure { self.client_config()? } else { plain()? };
        let builder = HttpsConnectorBuilder::new().with_tls_config(config);
        // HTTP/2 by ALPN where it is TLS; the client decides what to speak otherwise.
        Ok(builder.https_or_http().enable_all_versions().build())
    }

    fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let builder = builder()?;
        let builder = match &self.authorities {
            Some(path) => builder.with_root_certificates(authorities(path)?),
            None => {
                builder.with_native_roots().map_err(|error| TlsError::NoAuthorities(error.to_string()))?
            }
        };
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate, "a certificate", "otlp-client-certificate")?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::File {
                    what: "a private key",
                    path: key.clone(),
                    option: "otlp-client-key",
                    reason: error.to_string(),
                })?;
                Ok(builder.with_client_auth_cert(chain, key)?)
            }
            (None, None) => Ok(builder.with_no_client_auth()),
            _ => Err(TlsError::Half),
        }
    }
}

fn plain() -> Result<ClientConfig, TlsError> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?)
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path, "certificate authorities", "otlp-certificate")? {
        store.add(certificate)?;
    }
    Ok(store)
}

fn certificates(
    path: &Path,
    what: &'static str,
    option: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |reason: String| TlsError::File { what, path: path.to_owned(), option, reason };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() {
        return Err(wrong("there is no PEM certificate in it".to_owned()));
    }
    Ok(found)
}
