"""The examples of the documentation run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"


@pytest.mark.skipif(not _PAGE.is_file(), reason="the documentation is not in this distribution")
def test_the_examples_of_the_python_page_run_in_order() -> None:
    blocks = re.findall(r"```python\n(.*?)```", _PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 8
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(_PAGE), "exec"), names)
    result, masks = names["result"], names["masks"]
    assert result.n_cells > 10  # type: ignore[attr-defined]
    assert masks[0].logits is not None  # type: ignore[index]
    assert names["scores"].pooled.counts.f1 == 1.0  # type: ignore[attr-defined]
