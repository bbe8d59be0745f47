"""The layout of the flat parameter vector."""

import torch

from datm.networks import Layout

LAYOUT = Layout(("a.weight", "a.bias", "scale"), ((2, 3), (2,), ()))


def test_unflatten_cuts_the_vector_in_order() -> None:
    flat = torch.arange(9.0)
    assert LAYOUT.total == 9
    assert LAYOUT.sizes == [6, 2, 1]
    weight, bias, scale = LAYOUT.unflatten(flat)
    assert weight.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert bias.tolist() == [6, 7]
    assert scale == 8
    assert list(LAYOUT.named(flat)) == list(LAYOUT.names)


def test_the_parts_are_views() -> None:
    flat = torch.zeros(9)
    LAYOUT.named(flat)["a.bias"] += 1
    assert flat.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 0]
