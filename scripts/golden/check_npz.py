#!/usr/bin/env python3
"""Does NumPy read what hone_npz_save writes? Needs numpy.

Usage: HONE_KEEP_NPZ=DIR build/test_files && scripts/golden/check_npz.py DIR
"""
import pathlib
import sys

import numpy

want = {"a": (numpy.arange(6, dtype="f4") / 2).reshape(2, 3), "größe": numpy.array([-1, 0, 7], "i4"), "c": numpy.zeros((0, 3), "u1"),
        "d": numpy.float64(1 / 3), "deep/e": numpy.zeros(4000, "f4"), "f": numpy.array([1.5, -2], "f4")}
for name in ("stored", "deflated"):
    with numpy.load(pathlib.Path(sys.argv[1]) / f"{name}.npz") as got:
        assert list(got) == list(want), list(got)
        for key, value in want.items():
            assert got[key].dtype == numpy.asarray(value).dtype and got[key].shape == numpy.shape(value), key
            assert numpy.array_equal(got[key], value), key
print("2 files read")
