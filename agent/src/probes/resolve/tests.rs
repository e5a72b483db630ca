//! Processes that are made up.
