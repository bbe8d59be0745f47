"""Every draw is a function of one seed and a path."""

import torch

from datm.runtime.seeds import derived_seed, generator


def test_seeds_are_pinned() -> None:
    """Runs are repeated by seed alone, also on other machines and in years to come."""
    assert derived_seed(0) == 5254295370254170289
    assert derived_seed(0, "teacher", 3) == 2035762408706105052


def test_unequal_paths_have_unequal_seeds() -> None:
    paths: list[tuple[str | int, ...]] = [
        (),
        ("a",),
        ("a", 1),
        ("a", 11),
        ("a", 1, 1),
        ("a", "1"),
        ("a1",),
        (1, "a"),
    ]
    seeds = [derived_seed(seed, *path) for seed in (0, 1) for path in paths]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_generator_depends_on_nothing_else() -> None:
    torch.manual_seed(1)
    first = torch.rand(3, generator=generator(5, "x"))
    torch.manual_seed(2)
    assert torch.equal(torch.rand(3, generator=generator(5, "x")), first)
    assert not torch.equal(torch.rand(3, generator=generator(5, "y")), first)
