"""Every lesson obeys every rule."""

import pytest

from contextlab.views import shrunk
from tests.lessons.page import ROOT, pages
from tests.lessons.rules import RULES

PAGES = pages()
CASES = [
    pytest.param(page, name, id=f"{page.path.stem}-{name}") for page in PAGES for name in RULES
]


@pytest.mark.parametrize(("page", "name"), CASES)
def test_lesson_obeys(page, name):
    complaints = RULES[name](page)
    assert not complaints, f"{page.path.name}: {RULES[name].__doc__}\n- " + "\n- ".join(complaints)


@pytest.mark.parametrize("path", sorted((ROOT / "lessons/images").glob("*.png")), ids=str)
def test_pictures_beside_the_lessons_are_small(path):
    content = path.read_bytes()
    assert len(shrunk(content)) >= 0.8 * len(content), "store contextlab.views.shrunk(content)"


def test_lessons_are_numbered_without_a_gap():
    assert [page.number for page in PAGES] == [f"{place:02d}" for place in range(len(PAGES))]
    assert PAGES
