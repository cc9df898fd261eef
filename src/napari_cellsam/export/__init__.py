"""The files that results are written to, one module per format."""
