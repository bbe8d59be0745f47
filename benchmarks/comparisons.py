"""What is compared: variants of a recipe by name, each with all that it changes."""

from dataclasses import dataclass, field

from datm.recipes import Recipe


@dataclass(frozen=True)
class Variant:
    """A method laid over the recipe, if any, and overrides on top."""

    method: str | None = None
    overrides: dict[str, str] = field(default_factory=dict)


Comparison = dict[str, Variant]

ADAM: dict[str, object] = {
    "distill__optimiser": "adam",
    "distill__images_lr": 0.02,
    "distill__labels_lr": 0.01,
    "distill__images_momentum": 0.9,
    "distill__final_rate": 0.05,
}
"""Adam with rates that suit images of standard deviation 1."""

PRECISION: Comparison = {
    "exact, float32": Variant(overrides={"match.gradient": "exact", "precision": "float32"}),
    "exact, bfloat16": Variant(overrides={"match.gradient": "exact", "precision": "bfloat16"}),
    "TESLA, float32": Variant(overrides={"match.gradient": "tesla", "precision": "float32"}),
    "TESLA, bfloat16": Variant(overrides={"match.gradient": "tesla", "precision": "bfloat16"}),
}
METHODS: Comparison = {
    "MTT": Variant("mtt"),
    "TESLA": Variant("tesla"),
    "FTD": Variant("ftd"),
    "DATM": Variant("datm"),
    "PAD": Variant("pad"),
}
TAIL: Comparison = {
    "DATM": Variant("datm"),
    "DATM, prior taken off": Variant("datm", {"match.prior_correction": "true"}),
    "DATM, classifier balanced": Variant("datm", {"teach.classifier": "balanced"}),
    "DATM, prior taken off, experts decoupled": Variant(
        "datm",
        {
            "match.prior_correction": "true",
            "match.backbone_weight": "0.1",
            "match.classifier_weight": "1",
            "teach.classifier": "balanced",
        },
    ),
}


def windows(recipe: Recipe) -> Comparison:
    """Early, all and late start epochs: the first quarter of what the teachers have, and so on."""
    most = recipe.teach.epochs - recipe.distill.match.teacher_epochs + 1
    bounds = {"early": (0, most // 4), "all": (0, most), "late": (most // 2, most)}
    return {
        f"{name}, epochs {low} to {high - 1}": Variant(
            overrides={
                "match.lower": str(low),
                "match.first_upper": "none",
                "match.last_upper": str(high),
                "match.expansion": "0",
            }
        )
        for name, (low, high) in bounds.items()
    }


def ingredients(recipe: Recipe) -> Comparison:
    """One change at a time, on the work of `recipe`: iterations x segments x inner steps."""
    distill, match = recipe.distill, recipe.distill.match

    def worth(work: float, **changes: object) -> Variant:
        """Iterations that each cost `work` times as much, so that many fewer."""
        overrides = {name.replace("__", "."): str(value) for name, value in changes.items()}
        return Variant(
            overrides={**overrides, "distill.iterations": str(round(distill.iterations / work))}
        )

    n, m = match.inner_steps, match.teacher_epochs
    return {
        "as it is": worth(1),
        "TESLA": worth(1, match__gradient="tesla"),
        "2 segments per update": worth(2, match__segments=2),
        "4 segments per update": worth(4, match__segments=4),
        "half the inner steps": worth(0.5, match__inner_steps=n // 2),
        "twice the inner steps": worth(2, match__inner_steps=2 * n),
        "five times the inner steps": worth(5, match__inner_steps=5 * n),
        "segments twice as long": worth(2, match__inner_steps=2 * n, match__teacher_epochs=2 * m),
        "segments five times as long": worth(
            5, match__inner_steps=5 * n, match__teacher_epochs=5 * m
        ),
        "nearest step (ATT)": worth(1, match__nearest="true"),
        "quarter of the parameters skipped (EDF)": worth(1, match__skip_lowest=0.25),
        "first quarter of the parameters skipped (PAD)": worth(1, match__skip_depth=0.25),
        "flipped segments too": worth(1, match__flip="true"),
        "Adam": worth(1, **ADAM),
        "half of the iterations on real images, Adam": worth(1, match__data_share=0.5, **ADAM),
        "all iterations on real images, Adam": worth(1, match__data_share=1, **ADAM),
        "labels fixed": worth(1, distill__labels="fixed"),
        "labels hard": worth(1, distill__labels="hard"),
        "labels' rate x 3": worth(1, distill__labels_lr=3 * distill.labels_lr),
        "images' rate x 3": worth(1, distill__images_lr=3 * distill.images_lr),
        "images' rate / 3": worth(1, distill__images_lr=distill.images_lr / 3),
        "images' momentum 0.9": worth(
            1, distill__images_momentum=0.9, distill__images_lr=distill.images_lr / 5
        ),
        "step size x 2": worth(1, distill__step_size=2 * distill.step_size),
        "step size's rate x 100": worth(1, distill__step_size_lr=100 * distill.step_size_lr),
        "falling rates": worth(1, distill__final_rate=0.05),
        "average of iterates": worth(1, distill__ema=0.98),
        "four pieces an image (IDC)": worth(1, distill__formation=2),
        "half the window": worth(1, match__last_upper=max(1, match.last_upper // 2)),
    }
