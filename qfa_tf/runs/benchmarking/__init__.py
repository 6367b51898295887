"""The program `benchmark`: exported models of a workdir, measured."""
