"""The mint: nobody but the judge makes an ApprovedOrder."""

from __future__ import annotations

import ast
import copy
import pickle
from pathlib import Path

import pytest

import cryptoai
from cryptoai.core.errors import InvariantError
from cryptoai.core.messages import Side
from cryptoai.risk_engine.approved import ApprovedOrder
from cryptoai.testing.fakes import approved_order, make_instrument


def _order(price: str = "100") -> ApprovedOrder:
    return approved_order(make_instrument(), Side.BUY, "1", price, time=1_000)


def test_a_request_cannot_be_approved_outside() -> None:
    """The constructor refuses without the seal, and with any other."""
    request = _order().request
    with pytest.raises(InvariantError, match="minted by the risk engine"):
        ApprovedOrder(request)
    with pytest.raises(InvariantError):
        ApprovedOrder(request, seal=object())


def test_an_object_made_around_the_constructor_is_worthless() -> None:
    """`__new__` gives a shell whose request cannot be read."""
    shell = ApprovedOrder.__new__(ApprovedOrder)
    object.__setattr__(shell, "_request", _order().request)
    with pytest.raises(InvariantError, match="not minted"):
        _ = shell.request


def test_it_does_not_travel() -> None:
    """Pickling is refused, so no other process can hand one in."""
    with pytest.raises(InvariantError):
        pickle.dumps(_order())


def test_it_is_immutable_and_closed() -> None:
    """No attribute changes, no subclass, and a copy is the thing itself."""
    order = _order()
    with pytest.raises(InvariantError):
        order._request = _order("200").request  # type: ignore[misc]
    with pytest.raises(InvariantError):
        del order._request
    with pytest.raises(InvariantError):
        type("Forged", (ApprovedOrder,), {})
    assert copy.copy(order) is order
    assert copy.deepcopy(order) is order


def test_equality_is_that_of_the_request() -> None:
    """Two judgements of the same thing are equal, of different things are not."""
    assert _order() == _order()
    assert hash(_order()) == hash(_order())
    assert _order() != _order("200")
    assert _order() != _order().request


def test_only_the_judge_imports_the_mint() -> None:
    """No module of the package but the judge names `mint` or the seal."""
    root = Path(cryptoai.__file__).parent
    users = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.ImportFrom | ast.Import) else []
            attribute = node.attr if isinstance(node, ast.Attribute) else ""
            if {"mint", "_SEAL"} & {*names, attribute}:
                users.add(path.relative_to(root).as_posix())
    assert users == {"risk_engine/judge.py"}
