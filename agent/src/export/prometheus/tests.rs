//! Taking the port, and what variables say about it.

use super::*;

fn config(address: &str) -> Config {
    Config { address: address.to_owned(), max_connections: 1, timeout: Duration::from_secs(1) }
}

#[test]
fn a_taken_port_is_an_error_that_says_what_to_do() {
    let first = config("127.0.0.1:0").build(Arc::default()).unwrap();
    let address = first.address().to_string();
    let error = config(&address).build(Arc::default()).unwrap_err();
    assert!(matches!(error, Error::Taken { .. }));
    let error = error.to_string();
    assert!(error.contains(&address) && error.contains("--listen"), "{error}");
}

#[test]
fn an_address_that_is_not_ours_is_an_error_that_names_it() {
    let error = config("192.0.2.1:9400").build(Arc::default()).unwrap_err().to_string();
    assert!(error.contains("192.0.2.1:9400"), "{error}");
}

#[test]
fn it_listens_on_loopback_unless_told_otherwise() {
    assert_eq!(Options::default().resolve().unwrap().address, "127.0.0.1:9400");
    let off = Options { listen: Some(Listen::Off), ..Options::default() };
    assert!(off.resolve().is_none());
}

#[test]
fn the_variables_of_the_specification_name_host_and_port() {
    let address = |variables: &'static [(&str, &str)]| {
        let look_up =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Options::from_otel(&look_up).resolve().unwrap().address
    };
    assert_eq!(address(&[("OTEL_EXPORTER_PROMETHEUS_PORT", "9500")]), "localhost:9500");
    assert_eq!(address(&[("OTEL_EXPORTER_PROMETHEUS_HOST", "0.0.0.0")]), "0.0.0.0:9464");
    assert_eq!(address(&[]), "127.0.0.1:9400");
}
