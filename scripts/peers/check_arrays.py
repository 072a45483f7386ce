"""Does NumPy read what hone_npz_save writes? build/test_files leaves the files of one of its tests in $HONE_KEEP_NPZ."""
import os, pathlib, subprocess

import numpy as np

from common import Check


def main():
    check = Check(__doc__)
    tests = pathlib.Path(check.args.hone).parent / "test_files"
    if not tests.exists():
        check.skip("npz", f"{tests} is not there")
        return check.finish()
    subprocess.run([tests], env={**os.environ, "HONE_KEEP_NPZ": str(check.scratch)}, capture_output=True, check=True)
    want = {"a": (np.arange(6, dtype="f4") / 2).reshape(2, 3), "größe": np.array([-1, 0, 7], "i4"), "c": np.zeros((0, 3), "u1"),
            "d": np.float64(1 / 3), "deep/e": np.zeros(4000, "f4"), "f": np.array([1.5, -2], "f4")}
    for name in ("stored", "deflated"):
        with np.load(check.scratch / f"{name}.npz") as got:
            wrong = [key for key, value in want.items() if key not in got or got[key].dtype != np.asarray(value).dtype
                     or got[key].shape != np.shape(value) or not np.array_equal(got[key], value)]
            check.tell(not wrong and list(got) == list(want), name, f"{len(want)} arrays read, not as written: {wrong or 'none'}")
    check.finish()


main()
