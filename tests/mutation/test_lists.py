"""The lists of `make mutate` speak of modules, tests and lines that there are."""

from fnmatch import fnmatchcase

import pytest

from tests.mutation.judged import Change, Judgement, read_judged
from tests.mutation.modules import ROOT, TESTS_OF


@pytest.mark.parametrize("module", TESTS_OF)
def test_modules_and_their_tests_exist(module: str) -> None:
    assert (ROOT / module).is_file()
    for name in TESTS_OF[module]:
        file, _, function = name.partition("::")
        assert f"def {function}" in (ROOT / file).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("entry", [*read_judged()[0], *read_judged()[1]], ids=repr)
def test_judged_lines_exist_and_have_a_reason(entry: Judgement) -> None:
    modules = [m for m in TESTS_OF if fnmatchcase(m, entry.where.partition(":")[0])]
    texts = ["".join((ROOT / module).read_text(encoding="utf-8").split()) for module in modules]
    assert any("".join(entry.before.split()) in text for text in texts)
    assert entry.after
    assert entry.reason


@pytest.mark.parametrize(
    ("where", "before", "after", "covered"),
    [
        ("a.py:f", "x > 0", ["x >= 0"], True),
        ("*", "if x > 0:", ["if x >=  0:"], True),  # blanks make no difference
        ("a.py:f", "> 0", ["*"], False),  # anything: of a whole line only
        ("a.py:f", "if x > 0:", ["*"], True),
        ("a.py:f", "x > 0", ["x < 0", "x >= 0"], True),
        ("a.py:g", "x > 0", ["x >= 0"], False),
        ("b.py:*", "x > 0", ["x >= 0"], False),
        ("a.py:f", "x > 0", ["x > 1"], False),
    ],
)
def test_an_entry_covers_its_changes(
    where: str, before: str, after: list[str], *, covered: bool
) -> None:
    change = Change("a.py", 7, "f", "if x > 0:", "if x >= 0:")
    assert Judgement(where, before, tuple(after), "because").covers(change) is covered
