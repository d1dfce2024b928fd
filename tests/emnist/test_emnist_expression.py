"""The small parser: it agrees with Python where Python is asked a proper question, and answers everything else."""

from __future__ import annotations

import random
import re
from fractions import Fraction

import pytest

from core.errors import UserError
from emnist import expression
from emnist.expression import as_text, evaluate


def random_expression(rng: random.Random, depth: int = 0) -> str:
    kind = rng.random()
    if depth > 4 or kind < 0.4:
        return str(rng.randint(0, 99))
    if kind < 0.5:
        return f"({random_expression(rng, depth + 1)})"
    if kind < 0.6:
        return f"-{random_expression(rng, depth + 1)}"
    return random_expression(rng, depth + 1) + rng.choice("+-*/") + random_expression(rng, depth + 1)


def test_it_agrees_with_python_on_a_thousand_expressions():
    rng = random.Random(0)
    divided_by_zero = 0
    for _ in range(1000):
        text = random_expression(rng)[:190]
        text = text if text.count("(") == text.count(")") else "1"
        text = text if text[-1] in "0123456789)" else text + "1"
        try:
            expected = eval(re.sub(r"(\d+)", r"Fraction(\1)", text), {"Fraction": Fraction})
        except ZeroDivisionError:
            divided_by_zero += 1
            with pytest.raises(UserError, match="divided by zero"):
                evaluate(text)
            continue
        assert evaluate(text) == expected, text
    assert 5 < divided_by_zero < 300


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("12+7", "19"),
        ("12+7−3", "16"),
        ("2·3", "6"),
        ("2×3÷4", "1.5"),
        ("3.5+.5", "4"),
        ("1,5*2", "3"),
        ("1/3", "≈ 0.333333"),
        ("12345.25", "12345.25"),
        ("123456789/2", "61728394.5"),
        ("0-12345678/1000000", "−12.345678"),
        ("1/1000000", "0.000001"),
        ("1/3000000", "≈ 3.33333e−07"),
        ("0-7", "−7"),
        ("-7--7", "0"),
        ("2/-4", "−0.5"),
        (" 1 + 1 ", "2"),
        ("007", "7"),
        ("9" * 40 + "*" + "9" * 40, "≈ 1e+80"),
        ("9" * 199, "≈ 1e+199"),
        ("1/" + "9" * 190, "≈ 1e−190"),
    ],
)
def test_values(text, shown):
    assert as_text(evaluate(text)) == shown


def test_values_that_no_float_holds():
    assert as_text(Fraction(-(123457 * 10**400))) == "≈ −1.23457e+405"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a number is missing before the end"),
        ("12+", "a number is missing before the end"),
        ("*5", "a number is missing before '\\*'"),
        ("5//2", "a number is missing before '/'"),
        ("2(3", "'\\(' has nothing to do"),
        ("(2", "bracket is not closed"),
        ("2)", "'\\)' has nothing to do"),
        ("()", "a number is missing before '\\)'"),
        ("1 2", "'2' has nothing to do"),
        ("1.2.3", "'.3' has nothing to do"),
        ("1/0", "nothing can be divided by zero"),
        ("1/(2-2)", "nothing can be divided by zero"),
        ("A+1", "'A' is neither a number nor a sign"),
        ("2**3", "a number is missing before '\\*'"),
        ("__import__('os')", "'_' is neither"),
        ("1e9", "'e' is neither"),
        (".", "'.' is neither"),
        ("(" * 100 + "1" + ")" * 99, "nested more than 20 deep"),
        ("1" * 201, "longer than 200"),
        ("\0", "is neither"),
    ],
)
def test_everything_else_is_answered_in_a_line(text, message):
    with pytest.raises(UserError, match=message) as trouble:
        evaluate(text)
    assert "\n" not in str(trouble.value)


def test_long_chains_need_no_depth():
    assert evaluate("-" * 199 + "1") == -1
    assert evaluate("1" + "+1" * 99) == 100
    assert evaluate("(" * expression.DEEPEST + "1" + ")" * expression.DEEPEST) == 1
