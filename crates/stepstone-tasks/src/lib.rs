//! Task files to examples to features; the catalogue of tasks; metrics.
