//! CPU arithmetic on slices: gemm, attention, norms, losses, optimizer steps.
