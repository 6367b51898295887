"""The program `train`: the run, its loop, its logs and what guards it."""
