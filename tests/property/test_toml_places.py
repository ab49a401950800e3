"""Every part of any TOML text has the place where it stands, however the text is laid out.

Each leaf is a number that stands nowhere else in the text, so where it stands is known without a parser.
"""

from __future__ import annotations

import json
import re
import tomllib

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.catalog.reading import read

NAMES = ("a", "b-2", "3", "c d", "e.f", "#", "[g]", 'h"=', "i'\\", "é", "", "inf")
AROUND = [
    ("", ""),
    ("", ".5"),
    ('"', ' # \\" ]"'),
    ("'", " \\'"),
    ('"""', '\n[x]\nb = "" 1 """""'),
    ("'''", "\n}}'' '''''"),
]
names = st.sampled_from(NAMES)
leaves = st.just(0)
inline = st.recursive(
    leaves, lambda each: st.lists(each, max_size=3) | st.dictionaries(names, each, max_size=3), max_leaves=6
)
tables = st.recursive(
    st.dictionaries(names, inline, max_size=3),
    lambda each: st.dictionaries(names, inline | each | st.lists(each, min_size=1, max_size=3), max_size=3),
    max_leaves=5,
)


@attrs.define
class Layout:
    """Writes a document as TOML, each choice drawn, each leaf numbered."""

    choose: object
    lines: list = attrs.field(factory=list)
    leaves: int = 10_000

    def name(self, name):
        return self.choose(spellings(name))

    def space(self):
        return self.choose(["", " ", "\t"])

    def value(self, value):
        if isinstance(value, dict):
            pairs = [f"{self.space()}{self.name(key)}{self.space()}={self.value(item)}" for key, item in value.items()]
            return "{" + ",".join(pairs) + "}"
        if isinstance(value, list):
            gap = self.choose(["", " ", "\n", " # ], 1\n"])
            return f"[{gap}{f'{gap},{gap}'.join(self.value(item) for item in value)}{gap}]"
        return self.leaf()

    def leaf(self):
        self.leaves += 1
        before, after = self.choose(AROUND)
        return f"{before}{self.leaves}{after}"

    def table(self, table, above=()):
        later = []
        for key, item in table.items():
            own = isinstance(item, dict) or (isinstance(item, list) and item and all(isinstance(x, dict) for x in item))
            if own and self.choose([True, False]):
                later.append((key, item))
            elif isinstance(item, dict) and item and self.choose([True, False]):
                for name, value in item.items():
                    self.lines.append(
                        f"{self.name(key)}{self.space()}.{self.space()}{self.name(name)} = {self.value(value)}"
                    )
            else:
                self.lines.append(f"{self.space()}{self.name(key)} ={self.space()}{self.value(item)} # [k] = 1")
        for key, item in later:
            for each in item if isinstance(item, list) else [item]:
                path = f"{self.space()}.{self.space()}".join(self.name(part) for part in (*above, key))
                self.lines.append(f"[[{path}]]" if isinstance(item, list) else f"{self.space()}[{self.space()}{path}]")
                self.table(each, (*above, key))

    def text(self, table):
        self.table(table)
        return self.choose(["\n", "\r\n", "\n\n# x = [\n"]).join(self.lines)


def spellings(name):
    bare = name.isascii() and name.replace("-", "").isalnum()
    literal = (f"'{name}'",) if "'" not in name else ()
    return (json.dumps(name, ensure_ascii=False), *literal, *((name,) if bare else ()))


def walked(value, path=()):
    yield path, value
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from walked(item, (*path, key))


def offset_of(text, place):
    line, column = place
    return sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column - 1


@settings(max_examples=200)
@given(tables, st.data())
def test_every_part_of_a_toml_text_stands_where_its_place_says(table, data):
    text = Layout(lambda options: data.draw(st.sampled_from(options))).text(table)
    places = read(text.encode(), ".toml").places
    for path, value in walked(tomllib.loads(text)):
        places(path)
        assert path in places.offsets
        if not isinstance(value, dict | list):
            digits = re.search("[0-9]{5}", str(value))[0]
            at = offset_of(text, places(path))
            assert text[at : text.index(digits)] in {before for before, _ in AROUND}
        elif path and isinstance(path[-1], str):
            assert text[offset_of(text, places(path, key=True)) :].startswith(spellings(path[-1]))
