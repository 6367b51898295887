"""The program `export`: from a chosen architecture to files."""
