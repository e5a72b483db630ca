//! What sends the data: OpenTelemetry's resource.
//!
//! Enters: options, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`, and the host's name. Leaves: attributes, each
//! key once. Refuses: command lines, environment and user names: nothing that could be a secret is added unasked.

use std::collections::BTreeMap;

use crate::config::options;
use crate::config::value::{Pairs, variable};

options! {
    /// How the agent names itself to back ends (OpenTelemetry resource).
    pub struct Options["resource"] {
        /// `service.name`. OTEL_SERVICE_NAME.
        service_name: String, "service-name", "GPU_AGENT_SERVICE_NAME", default "gpu-agent", value_name = "NAME";
        /// More attributes, `key=value,key=value`, percent-encoded. OTEL_RESOURCE_ATTRIBUTES.
        attributes: Pairs, "resource-attributes", "GPU_AGENT_RESOURCE_ATTRIBUTES",
            default "service.version, service.instance.id, host.name, os.type", value_name = "PAIRS";
    }
}

impl Options {
    /// What the OpenTelemetry variables say.
    #[must_use]
    pub fn from_otel(look_up: &dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            service_name: variable("OTEL_SERVICE_NAME", look_up),
            attributes: variable("OTEL_RESOURCE_ATTRIBUTES", look_up),
        }
    }

    /// The resource: given attributes over found ones, `service_name` over all.
    #[must_use]
    pub fn resolve(self) -> Resource {
        let mut attributes: BTreeMap<String, String> = detected();
        attributes.extend(self.attributes.unwrap_or_default().0);
        if let Some(name) = self.service_name {
            attributes.insert("service.name".to_owned(), name);
        }
        Resource { attributes }
    }
}

fn detected() -> BTreeMap<String, String> {
    let uname = rustix::system::uname();
    let instance = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    [
        ("service.name", "gpu-agent".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", instance),
        ("host.name", uname.nodename().to_string_lossy().into_owned()),
        ("os.type", "linux".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// Attributes, ordered by key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resource {
    attributes: BTreeMap<String, String>,
}

impl Resource {
    /// Key and value.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(options: Options, key: &str) -> Option<String> {
        options.resolve().attributes.remove(key)
    }

    #[test]
    fn the_service_has_a_name_a_version_and_an_instance_by_itself() {
        assert_eq!(attribute(Options::default(), "service.name").as_deref(), Some("gpu-agent"));
        assert!(attribute(Options::default(), "service.version").is_some());
        assert_ne!(
            attribute(Options::default(), "service.instance.id"),
            attribute(Options::default(), "service.instance.id"),
        );
    }

    #[test]
    fn a_given_service_name_wins_over_one_among_the_attributes() {
        let look_up = |name: &str| match name {
            "OTEL_RESOURCE_ATTRIBUTES" => {
                Some("service.name=a,deployment.environment.name=lab%201".to_owned())
            }
            "OTEL_SERVICE_NAME" => Some("b".to_owned()),
            _ => None,
        };
        let options = Options::from_otel(&look_up);
        assert_eq!(attribute(options.clone(), "service.name").as_deref(), Some("b"));
        assert_eq!(attribute(options, "deployment.environment.name").as_deref(), Some("lab 1"));
        let options = Options { service_name: None, attributes: Some("service.name=a".parse().unwrap()) };
        assert_eq!(attribute(options, "service.name").as_deref(), Some("a"));
    }
}
