//! The agent against other processes: honest ones, dying ones, hostile ones, and a second agent.
//!
//! A check that needs root or another user is skipped without, with a line that says so.

mod targets {
    mod agents;
    mod honest;
    mod namespaces;
    mod refusals;
    mod rig;
}
