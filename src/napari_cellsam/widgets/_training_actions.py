"""The actions by which the model learns from what was corrected."""

from __future__ import annotations

from napari_cellsam.widgets._action import ActionSpec

__all__ = ["TRAINING_ACTIONS"]

TRAINING_ACTIONS = (
    ActionSpec(
        "add_to_training",
        "Add to the training set",
        "",
        "Keep what you corrected, approved or marked as complete as an example to retrain on.",
        lambda session: session.collecting.add(),
    ),
    ActionSpec(
        "train_model",
        "Learn from what I corrected",
        "Shift-T",
        "Add the image to the training set if something of it is certain, and train a new model on the set.",
        lambda session: session.training.learn(),
    ),
    ActionSpec(
        "stop_training",
        "Stop and keep the best",
        "",
        "End the training early; the best model so far is judged and kept.",
        lambda session: session.training.stop_and_keep(),
    ),
    ActionSpec(
        "cancel_training",
        "Cancel the training",
        "",
        "End the training without a new model; begun again as it is, it goes on from where it was.",
        lambda session: session.training.cancel(),
    ),
    ActionSpec(
        "use_trained",
        "Use the new model",
        "",
        "Find cells with the model that was trained last; the present one stays, and can be taken again.",
        lambda session: session.training.use_new(),
    ),
    ActionSpec(
        "go_back_model",
        "Go back to the earlier model",
        "",
        "Find cells with the model again that the one in use was made from.",
        lambda session: session.training.go_back(),
    ),
)
