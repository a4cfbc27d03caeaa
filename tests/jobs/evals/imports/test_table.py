from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.evals.imports.roundtrip import again, scorer_types
from tidegate.core.errors import ConfigError
from tidegate.jobs.evals.imports.table import imported

TABLE = """\
\ufeffid,question,expected_elements,expected,tags,customer,__expected
refund,"How do I get
my money back?",refund; 14 days,,billing;money,ann,
bye,Bye!,,Goodbye.,,bob,
,Say hello,"[""hello""]",,,,icontains: hello
,Anything,,,,,javascript: 1
"""


def test_rows_are_cases(tmp_path: Path):
    found = imported(TABLE, "t.csv")
    refund, bye, hello, anything = again(found, tmp_path).suite.cases
    assert (refund.id, refund.input) == ("refund", "How do I get\nmy money back?")
    assert refund.expected_elements == ("refund", "14 days") and refund.tags == ("billing", "money")
    assert refund.variables == {"customer": "ann"} and scorer_types(refund) == ["contains"]
    assert bye.reference == "Goodbye." and scorer_types(bye) == ["reference"]
    assert hello.id == "row-4" and [one["name"] for one in hello.scorers] == ["elements", "expected"]
    assert scorer_types(anything) == ["regex"]
    assert found.left_out == ["line 6, __expected: javascript: nothing here is like it"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "there is no row"),
        ("a,b\n1,2\n", "t.csv:2: asks nothing; the question stands in a column input or question"),
        ("input,input\n1,2\n", "t.csv:1: two columns have the same name"),
        ("input,b\n1\n", "t.csv:2: has fewer cells than the head"),
        ("input,b\n1,2,3\n", "t.csv:2: has more cells than the head"),
        ('input\n"open\n', "t.csv:1: unexpected end of data"),
    ],
)
def test_what_is_no_table_is_told(text: str, told: str):
    with pytest.raises(ConfigError, match=told):
        imported(text, "t.csv")
