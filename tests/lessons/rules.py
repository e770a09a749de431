"""The rules that every lesson obeys, by name: each takes a page and returns complaints."""

from collections.abc import Callable
from inspect import getmembers, isfunction

from tests.lessons import code_rules, reader_rules
from tests.lessons.page import Page

RULES: dict[str, Callable[[Page], list[str]]] = {
    name: function
    for module in (reader_rules, code_rules)
    for name, function in getmembers(module, isfunction)
    if function.__module__ == module.__name__
}
