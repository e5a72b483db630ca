//! What the user asked for, from four places: flags, `GPU_AGENT_*` and `OTEL_*` variables, the TOML file, defaults.
//!
//! Enters: a parsed command line, the environment, one file. Leaves: [`Options`], each key taken from the first
//! place that has it, in that order; each component turns its own part into a `Config`. Refuses: unknown keys,
//! values of the wrong type, and guessing: every error names the place (file and line, flag or variable) and the key. Only
//! variables that are not the agent's own (`OTEL_*`, `RUST_LOG`) are ignored, with a warning, where they cannot be used.
//!
//! Every key is declared once, by `options!`, in the component that reads it: type, flag, variable, default and
//! documentation. The command line's help and `docs/configuration.md` are made from those declarations.

use std::path::{Path, PathBuf};

pub mod document;
pub mod option;
pub mod value;

pub(crate) use option::options;

use crate::{export, pipeline};

/// Everything that can be configured; a table of the file each.
#[derive(Debug, Clone, Default, clap::Args, serde::Deserialize)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// `[collect]`
    #[command(flatten, next_help_heading = "Collecting")]
    pub collect: pipeline::options::Options,
    /// `[probes]`
    #[command(flatten, next_help_heading = "Probes")]
    pub probes: pipeline::probe_options::Options,
    /// `[resource]`
    #[command(flatten, next_help_heading = "Resource")]
    pub resource: export::resource::Options,
    /// `[prometheus]`
    #[command(flatten, next_help_heading = "Prometheus")]
    pub prometheus: export::prometheus::Options,
    /// `[otlp]`
    #[command(flatten, next_help_heading = "OTLP")]
    pub otlp: export::otlp::Options,
    /// `[json_log]`
    #[command(flatten, next_help_heading = "JSON log")]
    pub json_log: export::json_log::Options,
}

impl Options {
    /// All tables, in the order of the documentation.
    pub const TABLES: &'static [option::Table] = &[
        pipeline::options::Options::TABLE,
        pipeline::probe_options::Options::TABLE,
        export::resource::Options::TABLE,
        export::prometheus::Options::TABLE,
        export::otlp::Options::TABLE,
        export::json_log::Options::TABLE,
    ];

    /// Each key from `self` where it has it, else from `lower`.
    #[must_use]
    pub fn or(self, lower: Self) -> Self {
        Self {
            collect: self.collect.or(lower.collect),
            probes: self.probes.or(lower.probes),
            resource: self.resource.or(lower.resource),
            prometheus: self.prometheus.or(lower.prometheus),
            otlp: self.otlp.over(lower.otlp),
            json_log: self.json_log.or(lower.json_log),
        }
    }

    /// What the variables of OpenTelemetry, and RUST_LOG, say. `variable` looks one up.
    fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            collect: pipeline::options::Options::default(),
            probes: pipeline::probe_options::Options::default(),
            resource: export::resource::Options::from_otel(variable),
            prometheus: export::prometheus::Options::from_otel(variable),
            otlp: export::otlp::Options::from_otel(variable),
            json_log: export::json_log::Options::from_environment(variable),
        }
    }

    /// What the exporters are to do.
    pub fn exporters(&self) -> Result<export::Config, Error> {
        let options = self.clone();
        Ok(export::Config {
            resource: options.resource.resolve(),
            prometheus: options.prometheus.resolve(),
            otlp: options.otlp.resolve()?,
            json_log: options.json_log.resolve(),
        })
    }

    fn from_file(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| Error::File { path: path.to_owned(), source })
    }
}

/// Joins the places. `flags` holds flags and `GPU_AGENT_*` variables already: clap reads both.
pub fn load(
    flags: Options,
    file: Option<&Path>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Options, Error> {
    let file = file.map(Options::from_file).transpose()?.unwrap_or_default();
    Ok(flags.or(Options::from_environment(variable)).or(file))
}

/// Looks a variable of the process up; an empty one counts as unset, as OpenTelemetry's specification wants.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there, or not readable.
    #[error("cannot read the configuration file {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not valid: the source names line and key.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: toml::de::Error,
    },
    /// OTLP cannot be used as asked.
    #[error(transparent)]
    Otlp(#[from] export::otlp::ConfigError),
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn flags(arguments: &[&str]) -> Options {
        let command = Options::augment_args(Command::new("test").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments).unwrap();
        Options::from_arg_matches(&matches).unwrap()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn failure(text: &str) -> String {
        let file = file(text);
        let error = load(Options::default(), Some(file.path()), &|_| None).unwrap_err().to_string();
        assert!(error.starts_with(&file.path().display().to_string()), "{error}");
        error
    }

    #[test]
    fn each_key_comes_from_the_first_place_that_has_it() {
        let file = file("[otlp]\nendpoint = \"http://file:1\"\ntimeout_ms = 1\nperiod_ms = 1\n");
        let otel = |name: &str| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://variable:2".to_owned()),
            "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("2".to_owned()),
            _ => None,
        };
        let options = load(flags(&["--otlp-endpoint", "http://flag:3"]), Some(file.path()), &otel).unwrap();
        assert_eq!(options.otlp.endpoint.as_deref(), Some("http://flag:3"));
        assert_eq!(options.otlp.timeout_ms.map(|ms| ms.0), Some(2));
        assert_eq!(options.otlp.period_ms.map(|ms| ms.0), Some(1));
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_file_line_and_key() {
        let error = failure("[prometheus]\nlisten = \"127.0.0.1:1\"\nlissten = 1\n");
        assert!(error.contains("line 3") && error.contains("lissten"), "{error}");
    }

    #[test]
    fn an_unknown_table_is_an_error() {
        assert!(failure("[promtheus]\n").contains("promtheus"));
    }

    #[test]
    fn a_bad_value_is_an_error_that_names_line_and_what_is_wrong() {
        let error = failure("[prometheus]\nlisten = \"somewhere\"\n");
        assert!(error.contains("line 2") && error.contains("somewhere"), "{error}");
        let error = failure("[otlp]\ntimeout_ms = \"soon\"\n");
        assert!(error.contains("line 2") && error.contains("timeout_ms"), "{error}");
    }

    #[test]
    fn a_missing_file_is_an_error_that_names_it() {
        let error = load(Options::default(), Some(Path::new("/nowhere/x.toml")), &|_| None).unwrap_err();
        assert!(error.to_string().contains("/nowhere/x.toml"));
    }
}
