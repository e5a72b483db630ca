//! The host: what Linux, its security modules and NVIDIA's driver allow.
//!
//! Enters: `/proc`, `/sys` and library folders below a root. Leaves: lines. Refuses: to try anything out.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Line, Report};
use crate::capability::Capabilities;
use crate::inject::libraries;
use crate::root::Root;

/// The oldest Linux that the probes work on, and the one that they are best on.
const PROBES_FROM: (u32, u32) = (5, 10);
const PROBES_BEST_FROM: (u32, u32) = (6, 6);

/// Where things are looked for.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
    capabilities: Capabilities,
}

impl Host {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        Self { root: PathBuf::from("/"), capabilities: Capabilities::own() }
    }

    /// All about it.
    #[must_use]
    pub fn report(&self) -> Report {
        let lines = vec![
            self.kernel(),
            self.btf(),
            self.attaching(),
            self.loading(),
            self.probing(),
            self.lockdown(),
            self.yama(),
            self.seccomp(),
            self.memfd_noexec(),
            self.selinux(),
            self.apparmor(),
            self.driver(),
            self.cupti(),
            self.nvml(),
        ];
        Report { subject: "this host".to_owned(), lines }
    }

    fn kernel(&self) -> Line {
        let release = self.read("proc/sys/kernel/osrelease");
        let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version < PROBES_FROM {
            let reason =
                format!("Linux {release}: BPF ring buffers and uprobes are not what the probes need");
            return Line::no("kernel", reason, "Linux 5.10 or newer; GPU times work without probes");
        }
        if version < PROBES_BEST_FROM {
            let reason = format!("Linux {release}: probes are attached one by one (uprobe-multi is in 6.6)");
            return Line::degraded("kernel", reason, "nothing must be done; attaching takes longer");
        }
        Line::ok("kernel", format!("Linux {release}"))
    }

    fn btf(&self) -> Line {
        let found = self.path("sys/kernel/btf/vmlinux").exists();
        Line::ok(
            "BTF",
            if found { "there" } else { "not there, and not needed: the probes read no kernel structures" },
        )
    }

    fn attaching(&self) -> Line {
        match (self.capabilities.missing_for_others(), self.capabilities.map_files) {
            ("", true) => Line::ok("attach", "this agent may look into any process"),
            ("", false) => Line::degraded(
                "attach",
                "this agent lacks CAP_CHECKPOINT_RESTORE, so it cannot attach to processes that have the shim and have closed its descriptors",
                "run it as root, or give it CAP_CHECKPOINT_RESTORE",
            ),
            (missing, _) => Line::degraded(
                "attach",
                format!("this agent lacks {missing}, so it can attach to processes of its own user at most"),
                format!("run it as root, or give it {missing}"),
            ),
        }
    }

    fn loading(&self) -> Line {
        match (self.capabilities.missing_for_others(), self.capabilities.sys_admin) {
            ("", true) => Line::ok("loading", "this agent may load the shim into any process that runs"),
            ("", false) => Line::degraded(
                "loading",
                "this agent lacks CAP_SYS_ADMIN, so it cannot read seccomp filters, and leaves processes alone that have one",
                "run it as root, give it CAP_SYS_ADMIN, or use --inject force",
            ),
            (missing, _) => Line::degraded(
                "loading",
                format!(
                    "this agent lacks {missing}, so it can load the shim into processes of its own user at most"
                ),
                format!("run it as root, or give it {missing}"),
            ),
        }
    }

    fn probing(&self) -> Line {
        match self.capabilities.missing_for_bpf() {
            "" => Line::ok("probes", "this agent may load BPF programs and attach uprobes"),
            missing => Line::no(
                "probes",
                format!("this agent lacks {missing}, so nothing is known of operations, shapes and tensors"),
                format!("run it as root, or give it {missing}"),
            ),
        }
    }

    fn lockdown(&self) -> Line {
        let modes = self.read("sys/kernel/security/lockdown");
        match modes.split_once('[').and_then(|(_, rest)| rest.split_once(']')) {
            Some(("confidentiality", _)) => Line::no(
                "lockdown",
                "confidentiality: BPF programs may not read memory, so probes see no arguments",
                "boot with lockdown=integrity; GPU times work all the same",
            ),
            Some((mode, _)) => Line::ok("lockdown", mode),
            None => Line::ok("lockdown", "not built into this kernel"),
        }
    }

    fn yama(&self) -> Line {
        let scope = self.read("proc/sys/kernel/yama/ptrace_scope");
        match scope.as_str() {
            "" => Line::ok("yama", "not built into this kernel"),
            "3" => Line::no(
                "yama",
                "kernel.yama.ptrace_scope is 3: the shim cannot be loaded into running processes until the next boot",
                "start programs with `gpu-agent run`, or set LD_PRELOAD in their environment",
            ),
            "1" | "2" if !self.capabilities.sys_ptrace => Line::no(
                "yama",
                format!("kernel.yama.ptrace_scope is {scope}, and this agent lacks CAP_SYS_PTRACE"),
                "run it as root, or give it CAP_SYS_PTRACE",
            ),
            scope => Line::ok("yama", format!("kernel.yama.ptrace_scope is {scope}")),
        }
    }

    fn seccomp(&self) -> Line {
        let status = self.read("proc/self/status");
        let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map_or("", str::trim);
        match mode {
            "2" => Line::degraded(
                "seccomp",
                "this agent runs under a seccomp filter, which may deny it ptrace, bpf and perf_event_open",
                "run its container with seccompProfile: Unconfined",
            ),
            _ => Line::ok("seccomp", "this agent runs without a filter"),
        }
    }

    fn memfd_noexec(&self) -> Line {
        match self.read("proc/sys/vm/memfd_noexec").as_str() {
            "2" => Line::degraded(
                "memfd_noexec",
                "vm.memfd_noexec is 2: the shim comes into running processes as a file in their root, where that can be written",
                "sysctl vm.memfd_noexec=1, for processes whose root is read-only",
            ),
            "" => Line::ok("memfd_noexec", "not known to this kernel"),
            value => Line::ok("memfd_noexec", format!("vm.memfd_noexec is {value}")),
        }
    }

    fn selinux(&self) -> Line {
        match self.read("sys/fs/selinux/enforce").as_str() {
            "1" => Line::degraded(
                "SELinux",
                "enforcing: a policy may keep this agent from tracing, or a process from executing a memory file",
                "look for denials with ausearch -m avc -c gpu-agent, and run the agent as spc_t or unconfined_t",
            ),
            "0" => Line::ok("SELinux", "permissive"),
            _ => Line::ok("SELinux", "not in use"),
        }
    }

    fn apparmor(&self) -> Line {
        let enabled = self.read("sys/module/apparmor/parameters/enabled") == "Y";
        let profile = self.read("proc/self/attr/current");
        match (enabled, profile.as_str()) {
            (true, profile) if profile != "unconfined" && !profile.is_empty() => Line::degraded(
                "AppArmor",
                format!("this agent is confined by {profile}, which may deny ptrace"),
                "run its container with appArmorProfile: Unconfined",
            ),
            (true, _) => Line::ok("AppArmor", "this agent is not confined"),
            (false, _) => Line::ok("AppArmor", "not in use"),
        }
    }

    fn driver(&self) -> Line {
        let version = self.read("sys/module/nvidia/version");
        if version.is_empty() {
            return Line::no(
                "driver",
                "NVIDIA's kernel module is not loaded: there is no GPU to use here",
                "install the driver, or use a simulated device (make demo)",
            );
        }
        Line::ok("driver", format!("NVIDIA {version}"))
    }

    fn cupti(&self) -> Line {
        let found = self.libraries().as_ref().map(libraries::cupti_in_toolkits).unwrap_or_default();
        if found.is_empty() {
            let reason = "no toolkit with a libcupti on this host; processes bring their own, or have none";
            return Line::degraded("CUPTI", reason, "see `gpu-agent doctor --pid PID` for a process");
        }
        Line::ok("CUPTI", listed(&found))
    }

    fn nvml(&self) -> Line {
        match self.libraries().and_then(|root| libraries::find(&root, "libnvidia-ml.so.1")) {
            Some(path) => Line::ok("NVML", path.display().to_string()),
            None => Line::degraded(
                "NVML",
                "libnvidia-ml.so.1 is not there: no utilisation, power, temperature and memory of devices",
                "install the driver's libraries, or mount them into the agent's container (NVIDIA_DRIVER_CAPABILITIES=utility)",
            ),
        }
    }

    fn libraries(&self) -> Option<Root> {
        Root::open(&self.root).ok()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// What a small file says; nothing where it is not there.
    fn read(&self, path: &str) -> String {
        let text = fs::read_to_string(self.path(path)).unwrap_or_default();
        text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\0').to_owned()
    }
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| Path::display(path).to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
