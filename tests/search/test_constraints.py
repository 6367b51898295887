"""Reading constraints, measuring violations, refusing budgets that nothing meets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfa_tf.cost import METRICS, CostModel
from qfa_tf.search import (
    Constraint,
    ConstraintError,
    InfeasibleBudgetError,
    Subspace,
    check_feasible,
    parse_constraint,
    parse_constraints,
)
from qfa_tf.search.constraints import total_violation
from qfa_tf.space import SearchSpace


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mflops_8bit<=1.5", ("mflops_8bit", "<=", 1.5)),
        ("  macs  <  2e6 ", ("macs", "<", 2e6)),
        ("accuracy >= 0.9", ("accuracy", ">=", 0.9)),
        ("weight_bytes>100", ("weight_bytes", ">", 100.0)),
        ("tflite_bytes<=30000", ("tflite_bytes", "<=", 30000.0)),
        ("latency_ms@pixel-8.cpu<=3", ("latency_ms@pixel-8.cpu", "<=", 3.0)),
    ],
)
def test_parse(text, expected):
    constraint = parse_constraint(text)
    assert (constraint.metric, constraint.relation, constraint.bound) == expected


@given(
    st.sampled_from(METRICS),
    st.sampled_from(["<=", "<", ">=", ">"]),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_text_round_trip(metric, relation, bound):
    constraint = Constraint(metric, relation, bound)
    assert parse_constraint(str(constraint)) == constraint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency<=8", r"one of \['macs', .*'accuracy'\], .* Received: 'latency'"),
        ("macs@pixel<=8", "Received: 'macs@pixel'"),
        ("latency_ms@<=8", "A constraint is a metric"),
        ("macs=<5", "A constraint is a metric"),
        ("macs==5", "A constraint is a metric"),
        ("macs<=", "A constraint is a metric"),
        ("1<=macs<=2", "A constraint is a metric"),
        ("macs<=2MB", "must be a number.*'2MB'"),
        ("macs<=nan", "must be finite"),
        ("macs<=inf", "must be finite"),
        ("accuracy>=90", "write 0.9 for 90 %"),
        ("", "A constraint is a metric"),
        (None, "Received: None"),
    ],
)
def test_other_text_is_refused(text, message):
    with pytest.raises(ConstraintError, match=message):
        parse_constraint(text)


def test_several_constraints():
    one = Constraint("macs", "<=", 5.0)
    assert parse_constraints("macs<=5") == (one,)
    assert parse_constraints(["macs<=5", one]) == (one, one)
    assert parse_constraints(()) == ()
    with pytest.raises(ConstraintError, match="one of"):
        Constraint("macs", "=", 5.0)


def test_violations_are_relative_and_zero_exactly_when_met():
    values = np.array([50.0, 100.0, 150.0, np.nan])
    np.testing.assert_allclose(
        Constraint("macs", "<=", 100.0).violation(values), [0, 0, 0.5, np.inf]
    )
    np.testing.assert_allclose(
        Constraint("macs", ">=", 100.0).violation(values), [0.5, 0, 0, np.inf]
    )
    strict = Constraint("macs", "<", 100.0)
    np.testing.assert_array_equal(strict.satisfied(values), [True, False, False, False])
    np.testing.assert_array_equal(strict.violation(values) > 0, [False, True, True, True])
    assert Constraint("macs", "<=", 0.0).violation(np.array([3.0])) == 3.0


def test_total_violation_adds_known_terms():
    terms = parse_constraints(["macs<=10", "params<=10", "accuracy>=0.5"])
    values = {"macs": np.array([10.0, 20.0]), "params": np.array([5.0, 15.0])}
    np.testing.assert_allclose(total_violation(terms, values, 2), [0.0, 1.5])


def test_infeasible_budgets_are_refused_with_the_attainable_minima():
    space = SearchSpace.from_preset("digits_tiny")
    cost = CostModel(space)
    terms = parse_constraints(["mflops_8bit<=0.01", "macs<=2e5", "params<11722", "accuracy>=1"])
    with pytest.raises(InfeasibleBudgetError) as caught:
        check_feasible(terms, cost)
    message = str(caught.value)
    assert "mflops_8bit<=0.01 (attainable minimum 0.01771)" in message
    assert "params<11722.0 (attainable minimum 11722)".replace(".0", "") in message
    assert "macs" not in message
    assert message.count(". ") == 0
    check_feasible(parse_constraints(["mflops_8bit<=0.01771", "macs<=118240"]), cost)


def test_infeasible_under_a_restriction_of_bits():
    space = SearchSpace.from_preset("digits_tiny")
    cost = CostModel(space)
    terms = parse_constraints(["mflops_8bit<=0.02"])
    check_feasible(terms, cost)
    with pytest.raises(InfeasibleBudgetError, match=r"attainable minimum 0\.118"):
        check_feasible(terms, cost, Subspace(space, bits=(8,)))


def test_lower_bounds_have_an_attainable_maximum():
    cost = CostModel(SearchSpace.from_preset("digits_tiny"))
    with pytest.raises(InfeasibleBudgetError, match=r"macs>=10000000 \(attainable maximum 707712"):
        check_feasible(parse_constraints("macs>=1e7"), cost)
