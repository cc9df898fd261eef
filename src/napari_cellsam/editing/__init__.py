"""Edits of label images by a person or a model: what changed, of which cells, and the journal that keeps it."""
