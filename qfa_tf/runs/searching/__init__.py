"""The program `search`: settings, the run and what it shows."""
