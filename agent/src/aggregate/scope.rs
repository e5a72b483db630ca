//! Attributes: what a process and a device add to each of their series, and how a series' own are put in order.
//!
//! Enters: values by key. Leaves: attribute lists in the order of the instrument's declaration. Refuses: keys that the
//! instrument does not declare, and values that are not known: those are left out.

use std::sync::Arc;

use super::snapshot::Attributes;
use crate::event::{Device, DeviceId, Pid};
use crate::semconv::{Instrument, attribute};

/// A target process as its series name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Pid in the agent's pid namespace.
    pub pid: Pid,
    /// File name of its executable.
    pub executable: Arc<str>,
    /// Whether its device is simulated.
    pub simulated: bool,
}

/// Values that a group of series share.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    values: Vec<(&'static str, Arc<str>)>,
}

impl Scope {
    pub(super) fn process(process: &Process) -> Self {
        let values = vec![
            (attribute::PID, Arc::from(process.pid.to_string())),
            (attribute::EXECUTABLE, Arc::clone(&process.executable)),
        ];
        Self { values }
    }

    /// The same with a device; `None` stands for all devices past the limit. One that is not known adds nothing.
    pub(super) fn with_device(&self, id: Option<DeviceId>, device: Option<&Device>, simulated: bool) -> Self {
        let mut scope = self.clone();
        if id == Some(DeviceId::UNKNOWN) {
            return scope;
        }
        let ordinal = id.map_or_else(|| Arc::from(attribute::OTHER), |id| Arc::from(id.to_string()));
        scope.values.push((attribute::GPU, ordinal));
        match device {
            Some(device) => {
                let (major, minor) = device.compute_capability;
                scope.values.push((attribute::GPU_UUID, Arc::from(device.uuid.to_string())));
                scope.values.push((attribute::GPU_MODEL, Arc::from(device.name.as_str())));
                scope.values.push((attribute::COMPUTE_CAPABILITY, Arc::from(format!("{major}.{minor}"))));
            }
            // The record that describes the device was lost; that nothing here was measured stays true.
            None if simulated => scope.values.push((attribute::GPU_MODEL, Arc::from("Simulated device"))),
            None => {}
        }
        scope
    }

    /// The attributes of a series of `instrument`; `own` are those that the scope does not know.
    pub(super) fn attributes(&self, instrument: &Instrument, own: &[(&'static str, &str)]) -> Attributes {
        let value = |key: &str| {
            let own = own.iter().find(|(known, _)| *known == key).map(|(_, value)| Arc::from(*value));
            own.or_else(|| {
                self.values.iter().find(|(known, _)| *known == key).map(|(_, value)| Arc::clone(value))
            })
        };
        instrument.attributes.iter().filter_map(|&key| Some((key, value(key)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Process, Scope};
    use crate::event::{Device, DeviceId, Pid};
    use crate::semconv::{attribute, instruments};

    fn process(simulated: bool) -> Process {
        Process { pid: Pid(7), executable: "python3".into(), simulated }
    }

    fn shown(scope: &Scope, own: &[(&'static str, &str)]) -> String {
        let list = scope.attributes(&instruments::KERNEL_EXECUTIONS, own);
        list.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn attributes_come_in_the_declared_order_and_unknown_ones_are_left_out() {
        let scope = Scope::process(&process(false)).with_device(Some(DeviceId(1)), None, false);
        let own = [
            (attribute::KERNEL_NAME, "k"),
            (attribute::HOP, "not declared"),
            (attribute::KERNEL_CLASS, "gemm"),
        ];
        assert_eq!(
            shown(&scope, &own),
            "process.pid=7 process.executable.name=python3 gpu=1 kernel.class=gemm kernel.name=k"
        );
    }

    #[test]
    fn a_simulated_device_says_so_even_if_its_description_was_lost() {
        let scope = Scope::process(&process(true)).with_device(Some(DeviceId(0)), None, true);
        assert!(shown(&scope, &[]).contains("gpu.model=Simulated"));
    }

    #[test]
    fn a_described_device_gives_uuid_and_model() {
        let device = Device { name: "NVIDIA H200".into(), ..Device::default() };
        let scope = Scope::process(&process(false)).with_device(None, Some(&device), false);
        assert!(shown(&scope, &[]).contains("gpu=_other gpu.uuid=GPU-00000000-"), "{}", shown(&scope, &[]));
        assert!(shown(&scope, &[]).ends_with("gpu.model=NVIDIA H200"));
    }
}
