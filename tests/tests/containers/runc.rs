//! runc by itself.
//!
//! Enters: changes to its own default configuration. Leaves: containers. Refuses: nothing.

use std::process::Command;

use serde_json::{Value, json};

use super::engine::{Engine, SIMULATOR, answer};
use super::image::{CUDA, FOLDER, Image};

/// runc, with `change` made to each configuration.
pub(crate) struct Runc(pub(crate) fn(&mut Value));

impl Runc {
    fn command(image: &Image) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(image.beside("state"));
        command
    }
}

impl Engine for Runc {
    fn run(&self, image: &Image, name: &str) -> Command {
        let bundle = image.beside("bundle");
        std::fs::create_dir_all(&bundle).unwrap();
        answer(Self::command(image).arg("spec").arg("--bundle").arg(&bundle));
        let path = bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config["root"] = json!({ "path": image.root(), "readonly": true });
        let process = &mut config["process"];
        process["terminal"] = json!(false);
        process["args"] = image.line.iter().map(|word| word.to_str().unwrap()).collect();
        process["cwd"] = json!(FOLDER);
        process["env"] =
            json!([format!("LD_LIBRARY_PATH={CUDA}"), format!("GPU_AGENT_CUDA_SIM={SIMULATOR}")]);
        // The limits of the test itself.
        process.as_object_mut().unwrap().remove("rlimits");
        config["linux"].as_object_mut().unwrap().remove("resources");
        (self.0)(&mut config);
        std::fs::write(path, config.to_string()).unwrap();
        let mut command = Self::command(image);
        command.args(["run", "--bundle"]).arg(bundle).arg(name);
        command
    }

    fn look_up(&self, image: &Image, name: &str) -> (u32, String) {
        let state: Value = serde_json::from_str(&answer(Self::command(image).args(["state", name]))).unwrap();
        (state["pid"].as_u64().unwrap().try_into().unwrap(), name.to_owned())
    }

    fn remove(&self, image: &Image, name: &str) {
        // Where it has ended and gone there is nothing to delete.
        let _ = Self::command(image).args(["delete", "--force", name]).output();
    }
}

/// As another user, without capabilities, in a network of its own.
pub(crate) fn as_nobody(config: &mut Value) {
    let process = &mut config["process"];
    process["user"] = json!({ "uid": 65_534, "gid": 65_534 });
    process["capabilities"] = json!({});
    process["noNewPrivileges"] = json!(true);
}

/// As root of a user namespace, who is nobody outside.
pub(crate) fn in_a_user_namespace(config: &mut Value) {
    let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let linux = &mut config["linux"];
    linux["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    linux["uidMappings"] = mapping.clone();
    linux["gidMappings"] = mapping;
}
