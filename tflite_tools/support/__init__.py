"""What LiteRT's kernels take, as a table, and the checks against it."""
