"""The images that a service keeps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from napari_cellsam.errors import LimitExceededError
from napari_cellsam.service.images import ImageCache
from napari_cellsam.types import Image


def image(number, n=10):
    return Image.from_array(np.full((n, n), number, np.uint8))


def test_an_image_is_found_by_its_content():
    cache = ImageCache(1000)
    assert cache.put(image(1)) == image(1).image_id
    assert cache.get(image(1).image_id) is not None
    assert cache.get(image(2).image_id) is None


def test_what_was_not_used_for_longest_goes():
    cache = ImageCache(300)
    names = [cache.put(image(number)) for number in range(3)]
    cache.get(names[0])
    cache.put(image(3))
    assert [cache.get(name) is not None for name in names] == [True, False, True]
    assert cache.n_bytes == 300 and len(cache) == 3


def test_an_image_that_comes_again_is_kept_once_and_longest():
    cache = ImageCache(300)
    names = [cache.put(image(number)) for number in (0, 1, 2, 0, 3)]
    assert cache.n_bytes == 300
    assert cache.get(names[0]) is not None and cache.get(names[1]) is None


def test_an_image_larger_than_the_cache_is_refused_and_removes_nothing():
    cache = ImageCache(300)
    cache.put(image(1))
    with pytest.raises(LimitExceededError, match="400 bytes"):
        cache.put(image(2, n=20))
    assert len(cache) == 1


def test_threads_keep_the_count():
    cache = ImageCache(1000)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: cache.get(cache.put(image(number % 30))), range(400)))
    assert cache.n_bytes == 100 * len(cache) == 1000
