//! containerd with runc.
//!
//! Enters: images, as folders. Leaves: containers in a control group as the kubelet names it. Refuses: the containerd of the
//! host, whose folders, socket and namespace are others.

use std::process::Command;

use gpu_agent_tests::process::Running;

use super::engine::{Engine, SIMULATOR, answer};
use super::image::{CUDA, FOLDER, Image};

/// A containerd; ended when dropped.
pub(crate) struct Containerd {
    folder: tempfile::TempDir,
    _daemon: Running,
}

impl Containerd {
    /// Starts it, and waits until it answers.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let configuration = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n",
            path("root"),
            path("state"),
            path("socket"),
        );
        std::fs::write(path("config.toml"), configuration).unwrap();
        let mut daemon = Running::start(Command::new("containerd").args(["--config", &path("config.toml")]));
        daemon.until("serving", |daemon| daemon.stderr().contains("successfully booted").then_some(()));
        Self { folder, _daemon: daemon }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.folder.path().join("socket"));
        // Folders that containerd keeps elsewhere carry this name.
        command.args(["--namespace", "gpu-agent-tests"]);
        command
    }
}

impl Engine for Containerd {
    fn run(&self, image: &Image, name: &str) -> Command {
        let mut command = self.command();
        command.args(["run", "--rm", "--rootfs", "--read-only", "--seccomp", "--cwd", FOLDER]);
        command.arg("--fifo-dir").arg(image.beside("fifos"));
        command.arg("--cgroup").arg(format!("/kubepods/besteffort/pod-of-gpu-agent-tests/{name}"));
        command.arg("--env").arg(format!("LD_LIBRARY_PATH={CUDA}"));
        command.arg("--env").arg(format!("GPU_AGENT_CUDA_SIM={SIMULATOR}"));
        command.arg(image.root()).arg(name).args(&image.line);
        command
    }

    fn look_up(&self, _: &Image, name: &str) -> (u32, String) {
        let tasks = answer(self.command().args(["tasks", "list"]));
        let line =
            tasks.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {tasks}"));
        (line.split_whitespace().nth(1).unwrap().parse().unwrap(), name.to_owned())
    }

    fn remove(&self, _: &Image, name: &str) {
        // A container whose program has ended is gone.
        let _ = self.command().args(["tasks", "delete", "--force", name]).output();
        let _ = self.command().args(["containers", "delete", name]).output();
    }
}
