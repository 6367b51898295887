"""What kernels of several operators share: rounding, exact sums, sliding windows."""
