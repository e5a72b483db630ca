//! The grammar of the simulator's environment variable.
//!
//! Enters: any text. Leaves: the ways they went. Refuses: nothing.

use cuda_sim_abi::config::{Config, ConfigError};

use super::Run;
use super::program::Ways;

pub(super) fn make() -> Run {
    Box::new(|input| {
        let parsed: Result<Config, ConfigError> = String::from_utf8_lossy(input).parse();
        let mut ways = Ways::default();
        match parsed {
            Ok(config) => {
                ways.note((config.devices, config.cupti_gen, config.buffers.is_some(), config.fail.len()));
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                ways.note(std::mem::discriminant(&error));
            }
        }
        ways.into_numbers()
    })
}
