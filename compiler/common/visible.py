r"""Texts in one line that do nothing to what shows them: control characters as escapes.

Names of tensors, operators and targets come from files of strangers. An escape sequence among them
could move the cursor, rewrite lines or set the title of the window, a right-to-left mark could turn
the rest of a line around; so control and format characters are shown as escapes (`\x1b`).
"""

import unicodedata
from functools import cache

# Unicode categories of characters that are shown as escapes: control, format, surrogate, and the
# separators of lines and paragraphs.
_ESCAPED = ("Cc", "Cf", "Cs", "Zl", "Zp")
# Joiners of letters and emoji, format characters that change no other text.
_JOINERS = "\u200c\u200d"


def visible(text: str) -> str:
    """A text in one line, with control and format characters as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def is_unicode(text: str) -> bool:
    """Whether a text can be written to a file: it has no half of a surrogate pair.

    Python's texts can hold halves, and so it reads names of files that are not UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@cache
def _shown(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character) not in _ESCAPED:
        return character
    return character.encode("unicode_escape").decode("ascii")
