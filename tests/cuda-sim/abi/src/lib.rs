//! Contract between the simulated driver, runtime and CUPTI libraries.
