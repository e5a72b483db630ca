//! Shared-memory ring between the CUPTI shim and the agent.
