"""Optional kernels of the training step, built on the machine where they run."""
