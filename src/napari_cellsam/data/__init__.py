"""Images: read, prepared, tiled, sampled, and drawn for training."""
