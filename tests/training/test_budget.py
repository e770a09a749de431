import pytest
import torch

from contextlab.training import BUDGETS, budget, current


@pytest.mark.parametrize("name", BUDGETS)
def test_the_variable_chooses(monkeypatch, name):
    monkeypatch.setenv("CONTEXTLAB_BUDGET", name)
    assert current() == name and budget() is BUDGETS[name]


@pytest.mark.parametrize("cuda, name", [(True, "full"), (False, "quick")])
@pytest.mark.parametrize("value", [None, ""])
def test_else_the_machine_does(monkeypatch, cuda, name, value):
    monkeypatch.delenv("CONTEXTLAB_BUDGET", raising=False)
    if value is not None:
        monkeypatch.setenv("CONTEXTLAB_BUDGET", value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert current() == name


def test_an_unknown_budget_is_named(monkeypatch):
    monkeypatch.setenv("CONTEXTLAB_BUDGET", "fast")
    with pytest.raises(ValueError, match=r"CONTEXTLAB_BUDGET.*smoke, quick, full, got 'fast'"):
        current()


def test_budgets_grow():
    smoke, quick, full = BUDGETS.values()
    assert smoke.steps < quick.steps < full.steps and smoke.pool < quick.pool < full.pool
