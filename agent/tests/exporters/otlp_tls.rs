//! TLS against a receiver in another language, with another implementation of TLS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gpu_agent::export::otlp::{Exporter, GaveUp, Options, Protocol};
use gpu_agent::export::push::PushExporter;
use gpu_agent::export::resource::Resource;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::time::Instant;

use super::otlp::exporter;
use super::rig::{Receiver, python, snapshot};

/// PEM files in a folder of their own: an authority, what it signed, and an authority that signed nothing.
struct Pki {
    folder: tempfile::TempDir,
}

impl Pki {
    fn new() -> Self {
        let pki = Self { folder: tempfile::tempdir().unwrap() };
        let authority = pki.authority("ca.pem");
        pki.authority("other-ca.pem");
        for (name, host) in [("server", "localhost"), ("client", "agent")] {
            let key = KeyPair::generate().unwrap();
            let mut parameters =
                CertificateParams::new(vec![host.to_owned(), "127.0.0.1".to_owned()]).unwrap();
            parameters.use_authority_key_identifier_extension = true;
            let certificate = parameters.signed_by(&key, &authority).unwrap();
            std::fs::write(pki.path(&format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(pki.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        pki
    }

    fn authority(&self, file: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(rcgen::DnType::CommonName, file);
        let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(self.path(file), authority.pem()).unwrap();
        authority
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn receiver(&self, python: &Path, ask_for_certificate: bool) -> Receiver {
        let path = |file| self.path(file).to_str().unwrap().to_owned();
        let (certificate, key, ca) = (path("server.pem"), path("server.key"), path("ca.pem"));
        let mut arguments = vec!["--tls-cert", &certificate, "--tls-key", &key];
        if ask_for_certificate {
            arguments.extend(["--client-ca", &ca]);
        }
        Receiver::start(python, &arguments)
    }

    fn options(&self, receiver: &Receiver, protocol: Protocol, authority: &str) -> Options {
        let address = if protocol == Protocol::Grpc { &receiver.grpc } else { &receiver.http };
        let port = address.rsplit_once(':').unwrap().1;
        Options {
            endpoint: Some(format!("https://localhost:{port}")),
            protocol: Some(protocol),
            certificate_file: Some(self.path(authority)),
            timeout_ms: Some("2000".parse().unwrap()),
            ..Options::default()
        }
    }
}

async fn push(exporter: &mut Exporter) -> Result<(), GaveUp> {
    exporter.export(snapshot(1, 1), Instant::now() + Duration::from_secs(3)).await
}

#[tokio::test]
async fn points_arrive_where_the_authority_is_trusted_and_not_where_it_is_another() {
    let Some(python) = python() else { return };
    let pki = Pki::new();
    let mut receiver = pki.receiver(&python, false);
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        push(&mut exporter(pki.options(&receiver, protocol, "ca.pem"))).await.unwrap();
        assert_eq!(receiver.next()["metrics"][0]["name"], "paged_attention_calls");
        let error = push(&mut exporter(pki.options(&receiver, protocol, "other-ca.pem"))).await.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_certificate_takes_ours_and_no_stranger() {
    let Some(python) = python() else { return };
    let pki = Pki::new();
    let mut receiver = pki.receiver(&python, true);
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let stranger = pki.options(&receiver, protocol, "ca.pem");
        let known = Options {
            client_certificate_file: Some(pki.path("client.pem")),
            client_key_file: Some(pki.path("client.key")),
            ..stranger.clone()
        };
        push(&mut exporter(known)).await.unwrap();
        assert_eq!(receiver.next()["metrics"][0]["name"], "paged_attention_calls");
        push(&mut exporter(stranger)).await.unwrap_err();
    }
}

#[tokio::test]
async fn plain_text_to_a_tls_port_and_tls_to_a_plain_one_are_errors() {
    let Some(python) = python() else { return };
    let pki = Pki::new();
    let secure = pki.receiver(&python, false);
    let plain = Receiver::start(&python, &[]);
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let mut options = pki.options(&secure, protocol, "ca.pem");
        options.endpoint = options.endpoint.map(|url| url.replace("https", "http"));
        push(&mut exporter(options)).await.unwrap_err();
        push(&mut exporter(pki.options(&plain, protocol, "ca.pem"))).await.unwrap_err();
    }
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_option() {
    let pki = Pki::new();
    std::fs::write(pki.path("empty.pem"), "").unwrap();
    let failure = |authority: &str, certificate: Option<&str>, key: Option<&str>| {
        let options = Options {
            endpoint: Some("https://localhost:1".to_owned()),
            certificate_file: Some(pki.path(authority)),
            client_certificate_file: certificate.map(|file| pki.path(file)),
            client_key_file: key.map(|file| pki.path(file)),
            ..Options::default()
        };
        options.resolve().unwrap().unwrap().build(&Resource::default()).unwrap_err().to_string()
    };
    let error = failure("missing.pem", None, None);
    assert!(error.contains("missing.pem") && error.contains("--otlp-certificate"), "{error}");
    let error = failure("empty.pem", None, None);
    assert!(error.contains("empty.pem"), "{error}");
    let error = failure("ca.pem", Some("client.pem"), None);
    assert!(error.contains("--otlp-client-key"), "{error}");
    let error = failure("ca.pem", Some("client.pem"), Some("empty.pem"));
    assert!(error.contains("empty.pem") && error.contains("--otlp-client-key"), "{error}");
    let error = failure("ca.pem", Some("client.pem"), Some("server.key"));
    assert!(error.contains("fit"), "{error}");
}
