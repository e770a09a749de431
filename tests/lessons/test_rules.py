"""Every lesson obeys every rule."""

import pytest

from tests.lessons.page import pages
from tests.lessons.rules import RULES

PAGES = pages()
CASES = [
    pytest.param(page, name, id=f"{page.path.stem}-{name}") for page in PAGES for name in RULES
]


@pytest.mark.parametrize(("page", "name"), CASES)
def test_lesson_obeys(page, name):
    complaints = RULES[name](page)
    assert not complaints, f"{page.path.name}: {RULES[name].__doc__}\n- " + "\n- ".join(complaints)


def test_lessons_are_numbered_without_a_gap():
    assert [page.number for page in PAGES] == [f"{place:02d}" for place in range(len(PAGES))]
    assert PAGES
