"""nbval takes the same volatile parts out of outputs as the refresh does."""

import re
from configparser import RawConfigParser

from contextlab.exercises import _notebook
from tests.lessons.page import ROOT


def test_both_know_the_same_patterns():
    parser = RawConfigParser()
    parser.read(ROOT / "tests" / "sanitize.cfg", encoding="utf-8")
    listed = [(parser[name]["regex"], parser[name]["replace"]) for name in parser.sections()]
    assert listed == list(_notebook.VOLATILE)


def test_the_patterns_leave_numbers_alone():
    line = "0x12 0.123456 1e-05 0xab"
    for pattern, text in _notebook.VOLATILE:
        assert re.sub(pattern, text, line) == line
