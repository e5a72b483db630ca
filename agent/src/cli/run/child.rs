//! The program that `run` starts.
//!
//! Enters: a command and its environment. Leaves: its exit status. Refuses: to keep signals from it. SIGINT, SIGQUIT and
//! SIGHUP of a terminal reach the program by themselves; those sent to the agent alone are handed on, as SIGTERM is.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, getpgrp, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::Error;

/// A started program.
pub(super) struct Child {
    pid: Pid,
    ended: oneshot::Receiver<std::io::Result<ExitStatus>>,
}

impl Child {
    pub(super) fn start(
        command: &[OsString],
        environment: &[(&'static str, OsString)],
    ) -> Result<Self, Error> {
        let Some((program, arguments)) = command.split_first() else {
            let source = std::io::ErrorKind::InvalidInput.into();
            return Err(Error::System { what: "run an empty command", source });
        };
        let started = Command::new(program).args(arguments).envs(environment.iter().cloned()).spawn();
        let mut child =
            started.map_err(|source| Error::Start { program: program.display().to_string(), source })?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::system("keep a pid")(std::io::ErrorKind::InvalidData.into()))?;
        let (tell, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("gpu-agent-wait".into())
            // Nobody listens any more only when the session failed.
            .spawn(move || drop(tell.send(child.wait())))
            .map_err(Error::system("start the thread that waits for the program"))?;
        Ok(Self { pid, ended })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Hands signals on and calls `show` each `period` until the program ends.
    pub(super) async fn until_end(
        self,
        mut show: impl FnMut(),
        period: Duration,
    ) -> Result<ExitStatus, Error> {
        let catch = |kind| signal(kind).map_err(Error::system("catch signals"));
        let mut interrupt = catch(SignalKind::interrupt())?;
        let mut quit = catch(SignalKind::quit())?;
        let mut hangup = catch(SignalKind::hangup())?;
        let mut terminate = catch(SignalKind::terminate())?;
        let mut tables = tokio::time::interval(period.max(Duration::from_millis(100)));
        let Self { pid, mut ended } = self;
        // A program that has just ended takes no signal; its status comes next.
        let hand_on = |signal| {
            let _ = kill_process(pid, signal);
        };
        loop {
            tokio::select! {
                biased;
                status = &mut ended => {
                    let status = status.unwrap_or_else(|_| Err(std::io::ErrorKind::BrokenPipe.into()));
                    return status.map_err(Error::system("wait for the program"));
                }
                _ = interrupt.recv() => if !from_terminal() { hand_on(Signal::INT) },
                _ = quit.recv() => if !from_terminal() { hand_on(Signal::QUIT) },
                _ = hangup.recv() => if !from_terminal() { hand_on(Signal::HUP) },
                _ = terminate.recv() => hand_on(Signal::TERM),
                _ = tables.tick() => show(),
            }
        }
    }
}

/// Whether a terminal would send its signals to the whole group, the program included.
fn from_terminal() -> bool {
    rustix::termios::tcgetpgrp(std::io::stdin()).is_ok_and(|group| group == getpgrp())
}

/// The status as a shell tells it.
pub(super) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    // Both fit: codes are 0 to 255, signals 1 to 64.
    u8::try_from(code).unwrap_or(255)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::exit_code;

    #[test]
    fn codes_pass_and_signals_count_from_128() {
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }
}
