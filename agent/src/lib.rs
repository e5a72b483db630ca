//! Host agent: CUPTI rings in, OTLP, Prometheus and JSON lines out.
