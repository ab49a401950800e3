"""Text to plain data: what is read, what is refused, where it stands, and in bounded time."""

import json
import time

import pytest
import yaml

from entitlements.catalog import yaml_reading
from entitlements.catalog.findings import Unreadable, dotted
from entitlements.catalog.reading import LARGEST, read
from entitlements.catalog.words import Surprise
from entitlements.catalog.yaml_reading import plain

DEEP = "this is nested more than 64 deep; flatten it"


@pytest.fixture(params=["libyaml", "python"])
def loader(request, monkeypatch):
    if request.param == "libyaml" and not yaml.__with_libyaml__:
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(yaml_reading, "_LOADER", yaml.CSafeLoader if request.param == "libyaml" else yaml.SafeLoader)
    return request.param


def tree(text, suffix=".yaml"):
    reading = read(text.encode(), suffix)
    assert reading.findings == ()
    return reading.document


def told(text, suffix=".yaml"):
    """Every finding as `line:column path: message`."""
    findings = read(text.encode(), suffix).findings
    return [f"{finding.place[0]}:{finding.place[1]} {dotted(finding.path)}: {finding.message}" for finding in findings]


def refused(text, suffix=".yaml"):
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(Unreadable) as refusal:
        read(data, suffix)
    return refusal.value.finding.message, refusal.value.finding.place


# --- YAML ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("100000", 100000),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("", None),
        ('"no"', "no"),
        ("'1e6'", "1e6"),
        ('"12:30"', "12:30"),
        ("7d", "7d"),
        ("5GB", "5GB"),
        ("1.2.3", "1.2.3"),
        ("1,000", "1,000"),
        ("-", None),
        ("nope", "nope"),
        ("yes please", "yes please"),
        ("12:75", "12:75"),
        ("1e", "1e"),
        ("0b2", "0b2"),
        ("2024-01", "2024-01"),
        ("...", None),
    ],
)
def test_words_without_surprise(loader, written, meant):
    if written in {"-", "..."}:
        assert plain(written) == written
        return
    assert tree(f"a: {written}") == {"a": meant}
    assert type(tree(f"a: {written}")["a"]) is type(meant)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("no", 'no is a boolean to some readers of YAML only; write false, or "no" in quotes'),
        ("Off", 'Off is a boolean to some readers of YAML only; write false, or "Off" in quotes'),
        ("n", 'n is a boolean to some readers of YAML only; write false, or "n" in quotes'),
        ("YES", 'YES is a boolean to some readers of YAML only; write true, or "YES" in quotes'),
        ("on", 'on is a boolean to some readers of YAML only; write true, or "on" in quotes'),
        ("Y", 'Y is a boolean to some readers of YAML only; write true, or "Y" in quotes'),
        ("010", '010 is octal to some readers of YAML; write 10, or "010" in quotes'),
        ("08", '08 is octal to some readers of YAML; write 8, or "08" in quotes'),
        ("0x1F", '0x1F is a number to some readers of YAML only; write 31, or "0x1F" in quotes'),
        ("0o17", '0o17 is a number to some readers of YAML only; write 15, or "0o17" in quotes'),
        ("0b1_1", '0b1_1 is a number to some readers of YAML only; write 3, or "0b1_1" in quotes'),
        ("1_000", '1_000 is a number to some readers of YAML only; write 1000, or "1_000" in quotes'),
        ("12:30", '12:30 is a number to base 60 to some readers of YAML; write "12:30" in quotes'),
        ("1:30:59.5", '1:30:59.5 is a number to base 60 to some readers of YAML; write "1:30:59.5" in quotes'),
        ("1e6", "1e6 is text to some readers of YAML; write 1000000"),
        ("1.5e-3", '1.5e-3 is text to some readers of YAML; write "0.0015" in quotes'),
        ("1e999999999", "1e999999999 is text to some readers of YAML; write it in digits"),
        ("2.5", '2.5 is a float, and floats are not exact; write "2.5" in quotes'),
        ("-.5", '-.5 is a float, and floats are not exact; write "-0.5" in quotes'),
        ("7.", '7. is a float, and floats are not exact; write "7" in quotes'),
        (".inf", ".inf is no amount; write unlimited"),
        ("-.Inf", "-.Inf is no amount; write unlimited"),
        (".nan", ".nan is no amount; write unlimited"),
        ("2024-01-31", '2024-01-31 is a date to some readers of YAML; write "2024-01-31" in quotes'),
        (
            "2024-1-3 10:00:00",
            '2024-1-3 10:00:00 is a date to some readers of YAML; write "2024-1-3 10:00:00" in quotes',
        ),
        ("1" * 41, "is a number of 41 digits; write one of at most 19"),
        (
            "!!python/object:os.system x",
            "tags such as !!python/object:os.system are not obeyed; write the value without one",
        ),
        ("!!set {x}", "tags such as !!set are not obeyed; write the value without one"),
        ("!mine 5", "tags such as !mine are not obeyed; write the value without one"),
        ("! 5", "tags such as ! are not obeyed; write the value without one"),
        ("*x", "aliases such as *x are not followed; write the value out"),
    ],
)
def test_surprises(loader, written, message):
    text = f"x: 1\na: {written}\n"
    assert tree(text) == {"x": 1, "a": Surprise(message)}


def test_a_long_word_is_text(loader):
    assert tree(f"a: {'1_' * 60}") == {"a": "1_" * 60}


def test_quoted_and_block_texts_stay_text(loader):
    assert tree("a: 'no'\nb: |\n  1e6\nc: >\n  on\n") == {"a": "no", "b": "1e6\n", "c": "on\n"}


def test_lists_and_nesting(loader):
    assert tree("a: [1, {b: [x]}]\nc:\n- d\n") == {"a": [1, {"b": ["x"]}], "c": ["d"]}


@pytest.mark.parametrize(
    ("text", "findings"),
    [
        ("plans:\n  pro: {}\n  pro: {}\n", ["3:3 plans.pro: duplicate key 'pro' (first at line 2); keep one of them"]),
        ("a: [1, {b: 1, b: 2}]", ["1:15 a[1].b: duplicate key 'b' (first at line 1); keep one of them"]),
        ("1: x", ['1:1 1: the key 1 is not text in YAML; write "1" in quotes']),
        ("p: {true: x}", ['1:5 p.true: the key true is not text in YAML; write "true" in quotes']),
        ("no: x", ['1:1 no: the key no is not text in YAML; write "no" in quotes']),
        ("2.5: x", ["1:1 '2.5': the key 2.5 is not text in YAML; write \"2.5\" in quotes"]),
        ("~: x", ["1:1 '~': the key ~ is not text in YAML; write \"~\" in quotes"]),
        ("? [a]\n: x", ["1:3 : a key is text; write one word, or quote it"]),
        ("!!str a: x", ["1:1 a: a key is text; write one word, or quote it"]),
        ("a: &x {b: 1}", ["1:4 a: anchors such as &x are not kept; write the value without one"]),
        ("a: [&x 1]", ["1:5 a[0]: anchors such as &x are not kept; write the value without one"]),
        ("a: 1\n---\nb: 1", ["2:1 : a second document starts here; a catalog is one document"]),
    ],
)
def test_findings_in_yaml(loader, text, findings):
    assert told(text) == findings


def test_what_is_dropped_and_what_is_kept(loader):
    reading = read(b"a: 1\na: 2\n3: {x: 1}\nb: &x [z]\n", ".yaml")
    assert reading.document == {"a": 1, "3": {"x": 1}, "b": ["z"]}
    assert len(reading.findings) == 3


def test_merge_keys_spoil_their_mapping(loader):
    surprise = Surprise("has a merge key (<<), which is not obeyed; write the keys out, or use extends")
    assert tree("a: {<<: {b: 1}, c: 2}\nd: [{<<: {}}]") == {"a": surprise, "d": [surprise]}
    assert tree("<<: {b: 1}\nc: 2") == surprise
    assert tree('"<<": 1') == {"<<": 1}
    assert told("1: {<<: {}}") == ['1:1 1: the key 1 is not text in YAML; write "1" in quotes']


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("a: [1\nb: 2", "this is not YAML: did not find expected ',' or ']'", (2, 2)),
        ("a: b: c", "this is not YAML: mapping values are not allowed in this context", (1, 5)),
        ('a: "\x01"', "the character U+0001 cannot stand in YAML; take it out", (1, 5)),
        ('x\ny: "\ud7ff\x07"', "the character U+0007 cannot stand in YAML; take it out", (2, 6)),
        ("a: \0", "there is a NUL character here; take it out", (1, 4)),
        (b"a: 1\nb: \xff", "byte 0xff is not UTF-8; save the file as UTF-8", (2, 4)),
        (b"\n\xff", "byte 0xff is not UTF-8; save the file as UTF-8", (2, 1)),
        (b"\xed\xa0\x80", "byte 0xed is not UTF-8; save the file as UTF-8", (1, 1)),
    ],
)
def test_unreadable_yaml(text, message, place):
    assert refused(text) == (message, place)


@pytest.mark.parametrize(
    "text",
    ["a: [1\nb: 2", "a: b: c", 'a: "\x01"', "a: 'x", "\t- x", "%YAML 3.0\n---\na: 1", "- a\nb: 1"],
)
def test_unreadable_for_both_loaders(loader, text):
    message, _ = refused(text)
    assert message.startswith(("this is not YAML: ", "the character U+0001"))


def test_nothing_there(loader):
    assert tree("") is None
    assert tree("# only a remark\n") is None


def test_a_byte_order_mark_is_accepted():
    for suffix, text in ((".yaml", "a: 1"), (".yml", "a: 1"), (".json", '{"a": 1}'), (".toml", "a = 1")):
        assert read(b"\xef\xbb\xbf" + text.encode(), suffix).document == {"a": 1}


def test_places_in_yaml(loader):
    places = read("a:\n  b: [x, {c: 'd'}]\nü: 1\n".encode(), ".yaml").places
    assert places(()) == (1, 1)
    assert places(("a",), key=True) == (1, 1)
    assert places(("a",)) == (2, 3)
    assert places(("a", "b")) == (2, 6)
    assert places(("a", "b", 1, "c")) == (2, 14)
    assert places(("a", "b", 1, "c"), key=True) == (2, 11)
    assert places(("ü",)) == (3, 4)
    assert places(("a", "b", 1, "nowhere", "else")) == (2, 10)
    assert read(b"", ".yaml").places(("a",)) is None


# --- JSON ---------------------------------------------------------------------------------------


def test_json_values():
    assert tree('{"a": [1, true, null, "no", {"b": -2}]}', ".json") == {"a": [1, True, None, "no", {"b": -2}]}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("2.5", '2.5 is a float, and floats are not exact; write "2.5" in quotes'),
        ("1e6", "1e6 is a float, and floats are not exact; write 1000000"),
        ("1e400", "1e400 is a float, and floats are not exact; write it in digits"),
        ("1e99999999999999999999", "1e99999999999999999999 is a float, and floats are not exact; write it in digits"),
        ("1.0e-99999999999999999999", "1.0e-99999999999999999999 is a float, and floats are not exact; write it in digits"),
        ("NaN", 'NaN is no amount; write "unlimited"'),
        ("-Infinity", '-Infinity is no amount; write "unlimited"'),
        ("9" * 50, "is a number of 50 digits; write one of at most 19"),
        ("9" * 5000, "is a number of 5000 digits; write one of at most 19"),
    ],
)
def test_surprises_in_json(written, message):
    assert tree(f'{{"a": {written}}}', ".json") == {"a": Surprise(message)}


def test_duplicate_keys_in_json():
    text = '{"plans": {\n\t"pro": {"x": 1},\n\t"pro": {"x": 2}}, "l": [1, {"y": 1, "y": [{}]}]}'
    assert told(text, ".json") == [
        "3:2 plans.pro: duplicate key 'pro' (first at line 2); keep one of them",
        "3:38 l[1].y: duplicate key 'y' (first at line 3); keep one of them",
    ]
    assert read(text.encode(), ".json").document == {"plans": {"pro": {"x": 1}}, "l": [1, {"y": 1}]}


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("", "this is not JSON: Expecting value", (1, 1)),
        ('{"a": 1,\n "b"}', "this is not JSON: Expecting ':' delimiter", (2, 5)),
        ('{"a": 01}', "this is not JSON: Expecting ',' delimiter", (1, 8)),
        ('{"a": "\x07"}', "this is not JSON: Invalid control character at", (1, 8)),
        ("{'a': 1}", "this is not JSON: Expecting property name enclosed in double quotes", (1, 2)),
        ("{a: 1}", "this is not JSON: Expecting property name enclosed in double quotes", (1, 2)),
    ],
)
def test_unreadable_json(text, message, place):
    assert refused(text, ".json") == (message, place)


def test_places_in_json():
    text = '{"a":\n\t{"b": [1, {"c\\"\\u00fc": -2}], "d, e": []},\n "f": "}{"}'
    places = read(text.encode(), ".json").places
    assert places(()) == (1, 1)
    assert places(("a",), key=True) == (1, 2)
    assert places(("a",)) == (2, 2)
    assert places(("a", "b", 0)) == (2, 9)
    assert places(("a", "b", 1, 'c"ü')) == (2, 26)
    assert places(("a", "b", 1, 'c"ü'), key=True) == (2, 13)
    assert places(("a", "d, e"), key=True) == (2, 32)
    assert places(("f",)) == (3, 7)
    assert places(("f", "nowhere")) == (3, 7)


def test_places_agree_between_json_and_yaml():
    text = json.dumps({"a": {"b": [1, {"c": []}], "d": None}, "e": {}}, indent=1)
    one, other = read(text.encode(), ".json").places, read(text.encode(), ".yaml").places
    for path in ((), ("a",), ("a", "b"), ("a", "b", 0), ("a", "b", 1), ("a", "b", 1, "c"), ("a", "d"), ("e",)):
        assert one(path) == other(path)
        assert one(path, key=True) == other(path, key=True)


# --- TOML ---------------------------------------------------------------------------------------


def test_toml_values():
    assert tree('a = 1_000\nb = true\n[c]\nd = ["x"]', ".toml") == {"a": 1000, "b": True, "c": {"d": ["x"]}}
    assert tree("a = 2.50\nb = inf", ".toml") == {
        "a": Surprise('2.50 is a float, and floats are not exact; write "2.50" in quotes'),
        "b": Surprise("inf is no amount; write unlimited"),
    }


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("a = 1\nb = ]", "this is not TOML: Invalid value", (2, 5)),
        ("a = 1\na = 2", "this is not TOML: Cannot overwrite a value (at end of document)", (2, 6)),
        ("[a", "this is not TOML: Expected ']' at the end of a table declaration (at end of document)", (1, 3)),
        (f"a = {'9' * 5000}", "a number in this file has too many digits; write one of at most 19", (1, 5)),
    ],
)
def test_unreadable_toml(text, message, place):
    assert refused(text, ".toml") == (message, place)


# --- bombs --------------------------------------------------------------------------------------

N = 100_000
ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ("[" * N, ".yaml"),
        ("[" * N + "]" * N, ".yaml"),
        ("{a: " * N, ".yaml"),
        ("- " * N, ".yaml"),
        ("? " * N, ".yaml"),
        ("[" * N, ".json"),
        ("[" * N + "]" * N, ".json"),
        ('{"a":' * N + "1" + "}" * N, ".json"),
        ("a = " + "[" * N, ".toml"),
        ("a = " + "[" * N + "]" * N, ".toml"),
        ("a = " + "{a = " * N, ".toml"),
        (".".join("a" * N) + " = 1", ".toml"),
        ("[" + ".".join("a" * N) + "]", ".toml"),
        ("a." * 60 + "a = 1\nb = {" + " . ".join("a" * N) + " = 1}", ".toml"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_depth_bombs(text, suffix):
    started = time.perf_counter()
    message, (line, column) = refused(text, suffix)
    assert (message, line) == (DEEP, text.count("\n", 0, 250) + 1)
    assert 0 < column < 1100
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("text", ["[" * 1000, "- " * 1000, "{a: " * 1000])
def test_depth_bombs_for_the_python_loader(text, monkeypatch):
    monkeypatch.setattr(yaml_reading, "_LOADER", yaml.SafeLoader)
    assert refused(text)[0] == DEEP


def test_alias_bombs(loader):
    started = time.perf_counter()
    reading = read(ALIASES.encode(), ".yaml")
    assert len(reading.findings) == 60
    assert reading.document["a59"] == [Surprise("aliases such as *a58 are not followed; write the value out")] * 2
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("text", "suffix"), [("a: 1\n" * 200_000, ".yaml"), ("{" + '"a": 1,\n' * 200_000 + '"b": 2}', ".json")]
)
def test_findings_are_bounded(text, suffix):
    started = time.perf_counter()
    assert len(read(text.encode(), suffix).findings) == 101
    assert time.perf_counter() - started < 5


def test_files_have_a_size():
    started = time.perf_counter()
    message = "the file is larger than 4 MiB; a catalog is not, split it up"
    for suffix in (".yaml", ".json", ".toml"):
        assert refused(b"#" * (LARGEST + 1), suffix) == (message, None)
    assert read(b"#" * LARGEST, ".yaml").document is None
    assert time.perf_counter() - started < 5


def test_nesting_that_is_just_deep_enough():
    assert tree("[" * 64 + "]" * 64)
    assert refused("[" * 65 + "]" * 65) == (DEEP, (1, 65))


@pytest.mark.parametrize("text", ["a:\n\tb: 1\n", "a:\n  b: 1\n\tc: 2\n", "a: 1\n\t\n\tb: 2\n"])
def test_a_tab_that_indents_is_called_one(loader, text):
    message, (line, column) = refused(text)
    assert message == "this is not YAML: a tab stands here; indent with spaces"
    assert text.splitlines()[line - 1][column - 1] == "\t"


def test_another_sign_that_begins_nothing_is_no_tab(loader):
    assert refused("a: @b\n")[0].startswith("this is not YAML: found character")
