"""The edits, under their former name."""

from napari_cellsam.editing.edits import CropEdit, Plane, edit_between, erase, place

__all__ = ["CropEdit", "Plane", "edit_between", "erase", "place"]
