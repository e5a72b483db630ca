//! How the agent's components are, in four words.
//!
//! Enters: what each component says of itself. Leaves: the board, for `/readyz`, logs and reports. Refuses: to call
//! something failed that merely cannot be had here; that is unsupported, and the rest goes on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// How a component is; the later, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It does what it should.
    Healthy,
    /// It cannot work here, for a stated reason; nothing is broken.
    Unsupported,
    /// It works in part.
    Degraded,
    /// It does not work.
    Failed,
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Healthy => "healthy",
            Self::Unsupported => "unsupported",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        })
    }
}

/// All components.
#[derive(Debug, Default)]
pub struct Board {
    components: Mutex<BTreeMap<String, (Status, String)>>,
}

impl Board {
    /// A component says how it is, and why, in words a user can act on.
    pub fn set(&self, component: &str, status: Status, why: impl Into<String>) {
        let why = why.into();
        self.change(|components| components.insert(component.to_owned(), (status, why)));
    }

    /// A component is no more.
    pub fn remove(&self, component: &str) {
        self.change(|components| components.remove(component));
    }

    /// The best status; healthy where there are no components.
    #[must_use]
    pub fn best(&self) -> Status {
        self.change(|components| components.values().map(|(status, _)| *status).min())
            .unwrap_or(Status::Healthy)
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, (Status, String)>) -> T) -> T {
        change(&mut self.components.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Display for Board {
    /// One line a component: `name: status: why`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.change(|components| {
            components
                .iter()
                .try_for_each(|(name, (status, why))| writeln!(formatter, "{name}: {status}: {why}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Board, Status};

    #[test]
    fn what_cannot_be_had_is_not_broken() {
        let board = Board::default();
        assert_eq!(board.best(), Status::Healthy);
        board.set("target 7", Status::Unsupported, "no libcupti found");
        assert_eq!(board.best(), Status::Unsupported);
        board.set("target 8", Status::Failed, "cuptiSubscribe failed");
        assert_eq!(board.best(), Status::Unsupported);
        board.set("target 6", Status::Healthy, "armed");
        assert_eq!(board.best(), Status::Healthy);
        board.remove("target 8");
        assert_eq!(board.to_string(), "target 6: healthy: armed\ntarget 7: unsupported: no libcupti found\n");
    }
}
