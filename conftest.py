"""What every test and every lesson under test shares: one thread, no downloads, a home of its own.

The settings go into the environment before torch is imported, so that the kernels which execute
the lessons, and further test processes, inherit them.
"""

import atexit
import os
import shutil
import tempfile

import matplotlib
import pytest

# One thread a process: the digits are the same on every machine, and test processes do not fight.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The lessons show the runs made at this budget, also where a GPU would choose another.
os.environ["CONTEXTLAB_BUDGET"] = "quick"
# A weight that is not on the disk is an error at once, not a minute of retries.
os.environ["HF_HUB_OFFLINE"] = "1"
# torch's profiler writes dated lines to stderr where a CUDA build meets no GPU.
os.environ["KINETO_LOG_LEVEL"] = "99"
# What a test reads from another process is UTF-8, on Windows too.
os.environ.setdefault("PYTHONUTF8", "1")
# The reader's own runs and progress neither help nor suffer.
os.environ["CONTEXTLAB_HOME"] = tempfile.mkdtemp(prefix="contextlab-tests-")
atexit.register(shutil.rmtree, os.environ["CONTEXTLAB_HOME"], ignore_errors=True)

# In this process alone (a kernel keeps its inline backend): no test opens a window.
matplotlib.use("Agg")

VISIBLE_GPUS = os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """A lesson's kernel sees no GPU, as when its outputs were stored; other tests may use it."""
    if type(item).__module__.startswith("nbval"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif VISIBLE_GPUS is None:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = VISIBLE_GPUS
