"""Is this machine ready for the course? Every answer in words, with what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from typing import NamedTuple

import torch

from contextlab import training
from contextlab.home import home

GIB = 2**30
WANTED_MEMORY, WANTED_DISK = 4, 2  # GiB: the largest lesson, and own runs with room to spare


class Finding(NamedTuple):
    """One thing that was looked at: ``good`` or not, and then ``advice`` says what to do."""

    what: str
    found: str
    good: bool
    advice: str = ""


def check() -> list[Finding]:
    """Look at Python, torch, the device, cores, memory, disk and the budget in force.

    Returns:
        One :class:`Finding` each; nothing is changed, and nothing is asked of the network.

    Example:
        >>> [finding.what for finding in check()][:2]
        ['Python', 'PyTorch']
    """
    version = sys.version_info
    torch_version = torch.__version__.split("+")[0]
    numbers = training.budget()
    return [
        Finding(
            "Python",
            platform.python_version(),
            version >= (3, 11),
            "Install Python 3.11 or later.",
        ),
        Finding(
            "PyTorch",
            torch_version,
            tuple(int(part) for part in torch_version.split(".")[:2]) >= (2, 9),
            "Install torch 2.9 or later.",
        ),
        Finding("device", _device(), True),
        Finding(
            "processor",
            f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()}",
            torch.get_num_threads() > 1 or os.cpu_count() == 1 or torch.cuda.is_available(),
            "Unset OMP_NUM_THREADS, so that torch may use every core.",
        ),
        _memory(),
        _disk(),
        Finding(
            "budget",
            f"{numbers.name}: {numbers.steps} steps a training run",
            numbers.name != "smoke",
            "smoke only proves that the code runs. Unset CONTEXTLAB_BUDGET to see real results.",
        ),
    ]


def report(findings: list[Finding] | None = None) -> str:
    """The findings as lines of text, and a closing sentence.

    Args:
        findings: what :func:`check` returned; ``None`` looks now.

    Example:
        >>> print(report([Finding("Python", "3.9.1", False, "Install Python 3.11 or later.")]))
        look  Python  3.9.1
              -> Install Python 3.11 or later.
        One thing to look at.
    """
    findings = check() if findings is None else findings
    width = max(len(finding.what) for finding in findings)
    lines = []
    for what, found, good, advice in findings:
        lines.append(f"{'good' if good else 'look'}  {what:<{width}}  {found}")
        if not good:
            lines.append(f"      -> {advice}")
    bad = sum(not finding.good for finding in findings)
    closing = {0: "Ready. Nothing to do.", 1: "One thing to look at."}
    return "\n".join([*lines, closing.get(bad, f"{bad} things to look at.")])


def _device() -> str:
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / GIB
        return f"{torch.cuda.get_device_name(0)} with {memory:.0f} GiB"
    if torch.backends.mps.is_available():
        return "Apple GPU (mps)"
    return "no GPU; the CPU will do, each training run takes a minute or two"


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return Finding("memory", "not known on this system", True)
    few = f"The lessons need about {WANTED_MEMORY} GiB. Close other notebooks while you work."
    return Finding("memory", f"{total:.0f} GiB", total >= WANTED_MEMORY, few)


def _disk() -> Finding:
    remedy = "Set CONTEXTLAB_HOME to a folder that you can write to."
    try:
        place = home()
    except FileNotFoundError:
        return Finding("free disk", "no home folder is known", False, remedy)
    # os.path answers no, where Path would stop at a folder that cannot be read
    standing = next((p for p in (place, *place.parents) if os.path.exists(p)), place)
    if not os.path.isdir(standing):
        return Finding("free disk", f"the file {standing} is in the way of a folder", False, remedy)
    if not os.access(standing, os.W_OK | os.X_OK):
        return Finding("free disk", f"{standing} cannot be written to", False, remedy)
    free = shutil.disk_usage(standing).free / GIB
    few = f"Own runs and data sets go to {place}. Free some space, or set CONTEXTLAB_HOME."
    return Finding("free disk", f"{free:.0f} GiB", free >= WANTED_DISK, few)
