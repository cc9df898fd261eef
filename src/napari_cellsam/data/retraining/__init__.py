"""The data set that a model is retrained on: corrected images, and what in them is certain."""
