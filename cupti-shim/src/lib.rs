//! CUPTI shim: activity records of one process into a shared-memory ring.
