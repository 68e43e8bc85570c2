"""Names from model files and configurations, as parts of file names."""

import pytest

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.files import file_names

NAMES = [
    "a/b", "a\\b", "..", ".", "../x", "/etc/x", "C:\\x", "c:x", "a\nb", "a\0", "a.", "a ", " a",
    "CON", "nul", "con.txt", "COM1", "lpt9.wav", "", " ", "...", "x" * 101, "é" * 51, "a\x1b[2J",
    "a\u202eb", "a\u200bb", "\ufeffa", "a\u2028b", "\ud800", "a*", "a?", 'a"', "a|b", "<a>",
]  # fmt: skip
"""Which no file may be named after."""

PAIRS = [("a", "a"), ("a", "A"), ("stra\u00dfe", "STRASSE"), ("\u00e9", "e\u0301")]
"""Which some file systems take for the same."""


@pytest.mark.parametrize("name", [*NAMES, 1, None, ["a"], b"a"])
def test_what_no_file_may_be_named_after_is_refused(name):
    with pytest.raises(UsageError, match="cannot be part of a file name") as caught:
        file_names("sources", ["vocals", name])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("pair", PAIRS)
def test_what_some_file_systems_take_for_one_name_is_refused(pair):
    with pytest.raises(UsageError, match="must be different names"):
        file_names("sources", pair)


@pytest.mark.parametrize("names", ["vocals", (), None, 3, {"a": 1}])
def test_a_list_is_needed(names):
    with pytest.raises(UsageError, match="must be a list of at least one name"):
        file_names("sources", names)


def test_plain_names_of_any_language_are_kept():
    names = ("lead vocals", "ударные", "ギター", "e\u0301tude", "con-brio", "a.b", "x" * 100)
    assert file_names("sources", names) == names
