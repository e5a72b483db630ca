//! The whole pipeline against rings that this process writes.
