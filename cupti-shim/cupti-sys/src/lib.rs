//! CUPTI 11.8 to 13.5 without its headers: kinds, cbids, record offsets and a run-time loader.
