"""What works with torch and einops alone, and what says which libraries it needs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import contextlab
from contextlab.extras import INSTALL, need

HOUSE = Path(contextlab.__file__).parent
CORE = {"torch", "einops", "contextlab", *sys.stdlib_module_names}
ALONE = """
import sys
ABSENT = {"timm", "numpy", "torchvision", "matplotlib", "accelerate", "torchmetrics", "safetensors",
          "scipy", "PIL", "ipywidgets", "torchinfo", "tqdm", "huggingface_hub", "jaxtyping"}
class Without:
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ABSENT:
            return self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
import warnings
warnings.simplefilter("ignore")

import torch
from torch import nn
from contextlab import cli, costs, networks, context
print(costs.count(nn.Conv2d(8, 4, 3, padding=1), (1, 8, 10, 10)).macs)
print(costs.count(context("non_local", 8), (1, 8, 5, 5)).parameters)
print(tuple(networks.network(3, context="non_local").eval()(torch.zeros(1, 3, 16, 16)).shape))
print(tuple(networks.realtime(3)(torch.zeros(2, 3, 64, 64)).shape))
print(costs.bill("SRNet V").column("prints alike"))
def fails(what):
    try:
        exec(what)
    except ModuleNotFoundError as error:
        print("=", error)
for what in ("data", "training", "runs", "views", "probes", "claims", "exercises", "machine"):
    fails(f"from contextlab import {what}")
fails("networks.network(3, backbone='resnet18')")
fails("costs.fit_exponent([1, 2], [1, 4])")
fails("costs.bill('SRNet V').plot('ours', 'true')")
print(cli.main(["catalogue"]), cli.main(["train", "--data", "streets"]))
cli.main(["--help"])
"""


def test_torch_alone_counts_and_the_rest_says_what_to_install():
    found = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)
    said = found.stdout
    assert found.returncode == 0, found.stderr
    assert said.startswith("28800\n")
    assert "(1, 3, 16, 16)" in said and "(2, 3, 64, 64)" in said and "['yes', 'yes', 'yes']" in said
    sentences = [line for line in said.splitlines() if line.startswith("=")]
    assert len(sentences) == 11 and all(INSTALL in sentence for sentence in sentences)
    assert "= contextlab.data needs numpy, PIL, which are not installed here: " in said
    assert "\n0 2\n" in said and "error: contextlab.runs needs numpy" in found.stderr
    assert "train a network" in said


def test_a_missing_library_is_named():
    with pytest.raises(ModuleNotFoundError, match=r"this needs no_such, which is not installed"):
        need("this", "torch", "no_such")


@pytest.mark.parametrize("room", sorted(p.name for p in HOUSE.iterdir() if p.is_dir()))
def test_a_room_needs_what_its_files_import(room):
    """What stands at the top of a file is asked for at the door of its room."""
    if not (HOUSE / room / "__init__.py").is_file():
        return
    door = ast.parse((HOUSE / room / "__init__.py").read_text(encoding="utf-8"))
    asked = {
        word.value
        for node in ast.walk(door)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "need"
        for word in node.args[1:]
    }
    for path in (HOUSE / room).glob("*.py"):
        if path.name in ("_notebook.py", "__main__.py"):  # for those who write lessons
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in names:
                assert name.partition(".")[0] in CORE | asked, f"{path}: {name}"
