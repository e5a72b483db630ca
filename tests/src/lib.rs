//! Whole-pipeline tests of gpu-agent on a simulated device.
