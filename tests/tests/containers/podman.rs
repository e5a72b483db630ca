//! podman with runc.
//!
//! Enters: images, as folders. Leaves: containers with podman's own seccomp profile and capabilities, in a user namespace.
//! Refuses: podman's usual folders, and networks.

use std::process::Command;

use super::engine::{Engine, SIMULATOR, answer};
use super::image::{CUDA, FOLDER, Image};

/// podman, with a storage of its own.
pub(crate) struct Podman;

impl Podman {
    fn command(image: &Image) -> Command {
        let mut command = Command::new("podman");
        for (option, folder) in [("--root", "storage"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(image.beside(folder));
        }
        // crun cannot make control groups on hosts that mix the two versions of them.
        command.args(["--storage-driver", "vfs", "--runtime", "runc", "--cgroup-manager", "cgroupfs"]);
        command
    }
}

impl Engine for Podman {
    fn run(&self, image: &Image, name: &str) -> Command {
        let mut command = Self::command(image);
        command.args(["run", "--name", name, "--interactive", "--network", "none", "--read-only"]);
        command.args(["--read-only-tmpfs=false", "--log-driver", "none", "--workdir", FOLDER]);
        // podman would raise limits, which not every host lets it.
        command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
        command.args(["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"]);
        command.arg("--env").arg(format!("LD_LIBRARY_PATH={CUDA}"));
        command.arg("--env").arg(format!("GPU_AGENT_CUDA_SIM={SIMULATOR}"));
        command.arg("--rootfs").arg(image.root()).args(&image.line);
        command
    }

    fn look_up(&self, image: &Image, name: &str) -> (u32, String) {
        let format = ["inspect", "--format", "{{.State.Pid}} {{.Id}}", name];
        let answer = answer(Self::command(image).args(format));
        let (pid, id) = answer.trim().split_once(' ').unwrap();
        (pid.parse().unwrap(), id.to_owned())
    }

    fn remove(&self, image: &Image, name: &str) {
        // Where it is not there, there is nothing to remove.
        let _ = Self::command(image).args(["rm", "--force", "--time", "0", name]).output();
    }
}
