"""The napari docks: what a person sees; the only part that imports napari and Qt."""
