"""The catalogue and the building of modules by name."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

import contextlab
from contextlab.modules import _registry, catalogue, context


def test_every_entry_builds_and_keeps_the_shape():
    for name, entry in catalogue().items():
        module = context(name, 32)
        assert type(module) is entry.module
        assert module.eval()(torch.randn(1, 32, 3, 5)).shape == (1, 32, 3, 5)
        assert re.fullmatch(r"\d\d", entry.lesson)
        assert re.search(r"[A-Z].*\d{4}$", entry.source)


def test_the_package_shows_them():
    assert contextlab.context is context
    assert contextlab.catalogue is catalogue


def test_lessons_give_the_order():
    names = list(catalogue())
    assert names[:2] == ["graph_conv", "non_local"]
    assert names.index("squeeze_excite") < names.index("aspp") < names.index("glore")


def test_the_catalogue_is_a_copy():
    catalogue().clear()
    assert "non_local" in catalogue()
    with pytest.raises(dataclasses.FrozenInstanceError):
        catalogue()["non_local"].title = "mine"


def test_options_are_those_of_the_module():
    assert catalogue()["squeeze_excite"].options == ("reduction", "bias")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "non_locall",
            {},
            "one of graph_conv, non_local, .*'non_locall'; did you mean 'non_local'",
        ),
        ("transformer", {}, "got 'transformer'$"),
        (
            "non_local",
            {"head": 2},
            "option of 'non_local' one of reduction, .*did you mean 'heads'",
        ),
        ("squeeze_excite", {"reduction": 7}, "expected reduction to divide channels"),
    ],
)
def test_what_is_not_known_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        context(name, 32, **options)


def test_a_name_is_taken_once():
    row = dict.fromkeys(("title", "node", "squeeze", "reason", "reconstruct", "source"), "-")
    enter = _registry.register("non_local", lesson="03", **row)
    with pytest.raises(ValueError, match="expected a new name for Linear, got 'non_local'"):
        enter(torch.nn.Linear)
