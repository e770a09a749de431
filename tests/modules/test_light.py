"""``contextlab.modules`` works where torch and einops are all there is."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import contextlab

ROOT = Path(contextlab.__file__).parent.parent

# optional packages of torch itself are left alone; everything else the project uses is not there
SCRIPT = """
import importlib.abc, sys
missing = set(sys.argv[1].split())

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
for name in missing:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} could be imported")

import torch
import contextlab.modules
from contextlab import catalogue, context

for name in catalogue():
    x = torch.randn(2, 32, 5, 3)
    assert context(name, 32)(x).shape == x.shape, name
assert not missing & set(sys.modules), missing & set(sys.modules)
ours = {name for name in sys.modules if name.startswith("contextlab.")}
assert all(name.startswith("contextlab.modules") for name in ours), ours
print(*catalogue())
"""


def test_torch_and_einops_are_enough():
    missing = "accelerate beartype ipywidgets jaxtyping matplotlib numpy PIL safetensors timm"
    missing += " torchinfo torchmetrics torchvision tqdm IPython"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, missing],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "non_local" in done.stdout.split()


def test_core_dependencies_are_torch_and_einops():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {requirement.partition(">")[0].strip() for requirement in project["dependencies"]}
    assert names == {"torch", "einops"}
    assert project["version"] == contextlab.__version__
