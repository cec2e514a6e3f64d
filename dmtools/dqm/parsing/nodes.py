"""What is seen of a node of the page, and a piece of it for people who mend the parser."""

from __future__ import annotations

from typing import Any

from dmtools.dqm.parsing.found import FRAGMENT


def shown(node: Any) -> str:
    """The text that people see in a place: without what is hidden, and without buttons; blanks are one blank."""
    if len(node) == 0:
        return " ".join((node.text or "").split())
    parts = [node.text or ""]
    for child in node:
        if child.tag != "a" and not hidden(child):
            parts.append(shown(child))
        parts.append(child.tail or "")
    return " ".join(" ".join(parts).split())


def hidden(node: Any) -> bool:
    """Is it there, and not to be seen?"""
    classes = node.get("class")
    return classes is not None and "ng-hide" in classes.split()


def fragment(node: Any) -> str:
    """Its beginning, as markup."""
    from lxml import etree

    text: str = etree.tostring(node, encoding="unicode", method="html", with_tail=False)
    return text[:FRAGMENT]
