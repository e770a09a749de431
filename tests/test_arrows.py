"""The arrows of the house: what each part may import, read from the source without running it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import contextlab

HOUSE = Path(contextlab.__file__).parent

#: parts that a part may know of the house, and the libraries it may use beside Python's own
ARROWS: dict[str, tuple[str, str]] = {
    "__init__": ("modules runs", ""),
    "home": ("", ""),
    "extras": ("", ""),
    "modules": ("", "torch einops"),
    "backbones": ("", "torch einops timm safetensors huggingface_hub"),
    "networks": ("modules backbones", "torch einops"),
    "data": ("home", "torch einops numpy PIL torchvision"),
    "training": (
        "home",
        "torch einops numpy torchvision accelerate torchmetrics safetensors tqdm",
    ),
    "inference": ("", "torch"),
    "costs": (
        "modules backbones networks",
        "torch einops numpy matplotlib torchinfo torchvision",
    ),
    "probes": ("modules networks data inference", "torch einops numpy scipy"),
    "runs": (
        "home modules backbones networks data training costs probes",
        "torch numpy safetensors",
    ),
    "claims": (
        "home modules networks data costs probes runs",
        "torch einops numpy scipy",
    ),
    "views": (
        "home modules backbones networks data training costs probes runs claims",
        "torch einops numpy matplotlib PIL ipywidgets IPython",
    ),
    "machine": ("home training", "torch"),
    "cli": (
        "home modules backbones networks data training inference costs probes views runs claims "
        "machine",
        "torch numpy PIL matplotlib",
    ),
    "__main__": ("cli", ""),
    "exercises": (
        "home modules backbones networks data training costs probes views runs claims machine",
        "torch einops numpy matplotlib ipywidgets IPython nbformat nbclient",
    ),
}
#: the one file that may look whether jaxtyping is installed
JAXTYPING = "modules/_shapes.py"


def imports(source: str, package: str) -> set[str]:
    """Dotted names that a source imports anywhere in it, relative ones resolved in ``package``."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(parts if node.level else []), *filter(None, [node.module])])
            if base == "contextlab":  # from contextlab import data, context
                known = {alias.name for alias in node.names} & set(ARROWS)
                found |= {f"contextlab.{name}" for name in known}
                if len(known) < len(node.names):
                    found.add("contextlab.__init__")
            else:
                found.add(base)
    return found


def forbidden(path: str, source: str) -> list[str]:
    """What the file at ``path`` (inside the package) imports against the arrows."""
    part = path.partition("/")[0].removesuffix(".py")
    if part not in ARROWS:
        return [f"{path}: give the part {part!r} its arrows in this test"]
    parts, libraries = (set(names.split()) for names in ARROWS[part])
    package = ".".join(["contextlab", *Path(path).parent.parts])
    wrong = []
    for name in sorted(imports(source, package)):
        top, _, rest = name.partition(".")
        if top == "contextlab":
            unit = rest.partition(".")[0] or "__init__"
            # every room may say what is to be installed
            allowed = unit in parts | {part, "extras"}
            # the front door leads to the modules
            allowed = allowed or (unit == "__init__" and "modules" in parts)
        else:
            allowed = top in sys.stdlib_module_names or top in libraries
            allowed = allowed or (path == JAXTYPING and top == "jaxtyping")
        if not allowed:
            wrong.append(f"{path} imports {name}")
    return wrong


FILES = sorted(path.relative_to(HOUSE).as_posix() for path in HOUSE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES)
def test_arrows_run_one_way(path):
    assert forbidden(path, (HOUSE / path).read_text(encoding="utf-8")) == []


def test_every_part_of_the_house_stands():
    parts = {path.partition("/")[0].removesuffix(".py") for path in FILES}
    assert parts == set(ARROWS)


def test_the_rules_themselves_hold_no_circle():
    order: list[str] = []
    while len(order) < len(ARROWS):
        free = [p for p, (known, _) in ARROWS.items() if p not in order]
        free = [p for p in free if set(ARROWS[p][0].split()) <= set(order)]
        assert free, f"a circle among {set(ARROWS) - set(order)}"
        order += free


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("modules/a.py", "import timm", "imports timm"),
        ("modules/a.py", "def f():\n    from torchvision import ops", "imports torchvision"),
        ("modules/a.py", "from ..data import build", "imports contextlab.data"),
        ("modules/a.py", "from jaxtyping import Float", "imports jaxtyping"),
        ("backbones/a.py", "from contextlab.modules import NonLocal", "contextlab.modules"),
        ("backbones/a.py", "from contextlab import context", "contextlab.__init__"),
        ("training/loop.py", "from contextlab import data", "imports contextlab.data"),
        ("training/loop.py", "import contextlab.networks.segmentation", "contextlab.networks"),
        ("data/deep/a.py", "from ...training import fit", "imports contextlab.training"),
        ("costs/a.py", "from contextlab import data", "imports contextlab.data"),
        ("costs/a.py", "from contextlab.probes import inside", "imports contextlab.probes"),
        ("probes/a.py", "from contextlab import costs", "imports contextlab.costs"),
        ("probes/a.py", "from matplotlib.figure import Figure", "imports matplotlib"),
        ("runs/a.py", "from contextlab import views", "imports contextlab.views"),
        ("runs.py", "from .exercises import check", "imports contextlab.exercises"),
        ("attic/a.py", "", "give the part 'attic' its arrows"),
    ],
)
def test_a_wrong_arrow_is_seen(path, source, found):
    (wrong,) = forbidden(path, source)
    assert found in wrong


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "modules/a.py",
            "import math\nimport torch.nn.functional as F\nfrom ._shapes import Float",
        ),
        (JAXTYPING, "from jaxtyping import Float"),
        ("networks/a.py", "from contextlab import context\nfrom ..backbones import backbone"),
        ("training/a.py", "from . import losses\nfrom ..home import home"),
        ("runs.py", "from contextlab import data, training"),
        ("data/deep/a.py", "from .. import streets\nfrom ...home import home"),
    ],
)
def test_a_right_arrow_passes(path, source):
    assert forbidden(path, source) == []


def leads_to(path: str, source: str, files: set[str]) -> set[str]:
    """The files of the house that a file imports from, wherever in it.

    ``from contextlab.costs import count`` leads to the package's ``__init__`` and
    ``from contextlab.costs import fitting`` to that file alone, although Python runs ``__init__``
    first: what a package hands on is its files' own, and a file must not take it from there.
    """

    def file(name: str) -> str | None:
        if name.partition(".")[0] != "contextlab":
            return None
        base = "/".join(name.split(".")[1:])
        options = [f"{base}.py", f"{base}/__init__.py".lstrip("/")]
        return next((option for option in options if option in files), None)

    package = ["contextlab", *Path(path).parent.parts]
    found: set[str | None] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {file(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parts, *filter(None, [node.module])])
            found |= {file(f"{base}.{alias.name}") or file(base) for alias in node.names}
    return {name for name in found if name is not None}


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Files that lead to each other in a ring, the first again at the end."""
    open_, done = [], set()

    def walk(path: str) -> list[str]:
        if path in open_:
            return [*open_[open_.index(path) :], path]
        if path not in done:
            open_.append(path)
            for other in sorted(arrows.get(path, ())):
                if found := walk(other):
                    return found
            done.add(open_.pop())
        return []

    return next((found for path in sorted(arrows) if (found := walk(path))), [])


def test_no_files_import_each_other():
    arrows = {
        path: leads_to(path, (HOUSE / path).read_text(encoding="utf-8"), set(FILES))
        for path in FILES
    }
    assert sum(map(len, arrows.values())) > len(FILES), "imports are not seen"
    assert circle(arrows) == []


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ({"a.py": "from . import b", "b.py": "def f():\n    from .a import g"}, "a b a"),
        ({"a.py": "from .b import x", "b.py": "import contextlab.c", "c.py": "from . import a"},
         "a b c a"),
        ({"p/__init__.py": "from .a import x", "p/a.py": "from contextlab.p import y"},
         "p/__init__ p/a p/__init__"),
        ({"p/__init__.py": "from .a import x", "p/a.py": "from contextlab.p import b",
          "p/b.py": ""}, ""),
        ({"a.py": "from .b import x\nfrom .c import y", "b.py": "from .c import y", "c.py": ""},
         ""),
    ],
)  # fmt: skip
def test_a_circle_is_found(sources, found):
    arrows = {path: leads_to(path, source, set(sources)) for path, source in sources.items()}
    assert " ".join(circle(arrows)).replace(".py", "") == found
