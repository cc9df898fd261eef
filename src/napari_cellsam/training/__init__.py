"""Training of the compact model."""
