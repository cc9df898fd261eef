"""The camera of a viewer, which napari moved in 0.9."""

from __future__ import annotations

from typing import Any

__all__ = ["camera_of"]


def camera_of(viewer: Any) -> Any:
    """Return the camera through which a viewer is looked at."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera
