"""Schedules against their formulas, and their text form."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operant.errors import OperantError
from operant.parts.component import strong
from operant.parts.schedules import Cosine, Exponential, Linear, at, format_scalar, parse_scalar

PROGRESS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5)


@pytest.mark.parametrize(
    "schedule, formula",
    [
        (Linear(3.0, 1.0, over=0.5), lambda s: 3.0 - 2.0 * s),
        (Cosine(3.0, 1.0, over=0.5), lambda s: 1.0 + 2.0 * (1 + math.cos(math.pi * s)) / 2),
        (Exponential(3.0, 0.5, over=0.5), lambda s: 3.0 * (0.5 / 3.0) ** s),
        (Linear(0.25), lambda s: 0.25 * (1 - s)),
        (Cosine(2.0), lambda s: 1.0 + math.cos(math.pi * s)),
        (Exponential(2.0, 8.0), lambda s: 2.0 * 4.0**s),
    ],
)
def test_values_follow_the_formula_and_hold_after_the_end(schedule, formula):
    expected = [formula(min(progress / schedule.over, 1.0)) for progress in PROGRESS]
    values = jax.jit(lambda s, p: jnp.stack([at(s, x) for x in p]))(strong(schedule), PROGRESS)
    # A cosine cancels near its end: an absolute share of the start is what float32 can promise.
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-6)
    assert values[0] == schedule.start
    np.testing.assert_allclose(values[-2:], [schedule.end] * 2, rtol=1e-6, atol=1e-7)
    assert at(schedule, -1.0) == schedule.start


def test_a_number_is_its_own_schedule():
    assert at(0.1, 0.9) == jnp.float32(0.1) and at(3, 0.0).dtype == jnp.float32


finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=1e-30, max_value=1e30)
scalars = st.one_of(
    finite,
    st.builds(Linear, finite, finite, positive),
    st.builds(Cosine, finite, finite, positive),
    st.builds(Exponential, positive, positive, positive),
)


@given(scalars)
def test_text_round_trip_is_exact(scalar):
    assert parse_scalar(format_scalar(scalar)) == scalar


def test_forms_that_are_read():
    assert parse_scalar("1e-3") == 1e-3
    assert parse_scalar(" linear( 1e-3 , 0 ) ") == Linear(1e-3, 0.0)
    assert parse_scalar("cosine(1,over=0.5)") == Cosine(1.0, over=0.5)
    assert parse_scalar("exponential(1, end=0.1)") == Exponential(1.0, 0.1)
    assert parse_scalar("linear(1)") == Linear(1.0)
    assert format_scalar(3) == "3.0" and format_scalar(strong(Linear(0.5))) == "linear(0.5,0.0,over=1.0)"


@pytest.mark.parametrize(
    "text",
    [
        *("", "fast", "nan", "linear", "linear()", "linear(1,2,3,4)", "linear(1,slope=2)", "linear(1,start=2)"),
        *("linear(a)", "linear(1,,2)", "linear(nan)", "step(1)", "exponential(1)", "linear(linear(1))", "linear(1)x"),
        *("linear(1,0,over=0)", "cosine(1,0,-1)", "exponential(1,0)", "exponential(-1,1)"),
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(OperantError):
        parse_scalar(text)


@given(st.text(max_size=30))
def test_no_text_raises_anything_but_an_operant_error(text):
    try:
        parse_scalar(text)
    except OperantError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "kind, values", [(Linear, (1.0, 0.0, 0.0)), (Cosine, (1.0, 0.0, -1.0)), (Exponential, (1.0, 0.0))]
)
def test_schedules_that_would_give_nan_are_refused(kind, values):
    with pytest.raises(OperantError, match="must be positive"):
        kind(*values)
