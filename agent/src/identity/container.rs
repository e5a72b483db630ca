//! The container id in a cgroup path.
//!
//! Enters: `/proc/PID/cgroup`. Leaves: 64 hexadecimal digits, if a component of a path ends in them. Refuses: to guess
//! from anything shorter: session scopes and slices have no id.
//!
//! Seen in the field: `/docker/ID`, `/kubepods/…/podUID/ID`, `…/cri-containerd-ID.scope`, `…/crio-ID.scope`,
//! `/libpod-ID`.

/// The id of the innermost container.
pub(super) fn id(cgroup: &str) -> Option<String> {
    cgroup
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .find_map(|path| path.rsplit('/').find_map(of_component))
}

fn of_component(component: &str) -> Option<String> {
    const DIGITS: usize = 64;
    let name = component.strip_suffix(".scope").unwrap_or(component);
    let start = name.len().checked_sub(DIGITS)?;
    let (before, digits) = (name.get(..start)?, name.get(start..)?);
    let separated = before.is_empty() || before.ends_with(['-', ':']);
    (separated && digits.bytes().all(|digit| digit.is_ascii_hexdigit())).then(|| digits.to_owned())
}

#[cfg(test)]
mod tests {
    use super::id;

    #[test]
    fn the_runtimes_spellings_are_known() {
        let digits = "0123456789abcdef".repeat(4);
        for path in [
            format!("0::/docker/{digits}"),
            format!("0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-{digits}.scope"),
            format!("12:memory:/kubepods/besteffort/pod1-2-3/{digits}\n0::/"),
            format!("0::/machine.slice/libpod-{digits}.scope/container"),
            format!("0::/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{digits}"),
        ] {
            assert_eq!(id(&path).as_deref(), Some(&*digits), "{path}");
        }
    }

    #[test]
    fn a_process_outside_containers_has_none() {
        assert_eq!(id("0::/user.slice/user-1000.slice/session-3.scope"), None);
        assert_eq!(id(""), None);
        assert_eq!(id("0::/x/ééééééééééééééééééééééééééééééééééééé"), None);
    }
}
