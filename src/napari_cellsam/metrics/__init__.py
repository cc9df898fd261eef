"""How well predicted cells agree with true cells.

Cells are matched one to one by intersection over union (IoU): first as many pairs as possible at or above the
threshold, then the highest sum of IoU. From the pairs come F1, precision and recall at one threshold (DeepCell uses
0.6), and means over 0.50, 0.55 .. 0.95: mean F1, and mean segmentation accuracy (mSA), the mean of TP / (TP + FP + FN).

With detector scores there is also average precision as COCO defines it, for one class and without a limit on the
number of detections: by falling score, each detection takes the free true cell with the highest IoU at or above the
threshold; precision is made to fall with recall and averaged at recalls 0, 0.01 .. 1. AP50 is at IoU 0.5, mAP the mean
over the thresholds.

An image without true cells in which none was found counts as perfect (1); its average precision is not defined (None).
"""

from napari_cellsam.metrics.evaluation import Evaluation, LabelPair, Scores, evaluate
from napari_cellsam.metrics.matching import Counts, Matching, Overlaps, find_overlaps, match_labels, match_overlaps
from napari_cellsam.metrics.precision import IOU_THRESHOLDS, average_precision

__all__ = [
    "IOU_THRESHOLDS",
    "Counts",
    "Evaluation",
    "LabelPair",
    "Matching",
    "Overlaps",
    "Scores",
    "average_precision",
    "evaluate",
    "find_overlaps",
    "match_labels",
    "match_overlaps",
]
