"""CIFAR-10-LT at 50 images per class: DATM's row, and LTDD, made for long tails.

LTDD: Zhao et al., "Distilling Long-tailed Datasets", CVPR 2025, arXiv 2408.14506: DATM with an
inner loss corrected by the class shares, the backbone and a rebalanced classifier matched with
weights of their own. Its table has DATM's row.
"""

from dataclasses import replace

from datm.recipes import guo2024datm
from datm.recipes.benchmark import CIFAR10, Benchmark
from datm.recipes.recipe import Entry, Recipe

SOURCE = "LTDD (Zhao 2025)"
IPC = 50
ROW = guo2024datm.ROWS["cifar10"][IPC]
THRESHOLD = 10.0

FACTORS = (10, 50, 100, 200)
WEIGHTS = {10: (1.0, 0.2), 50: (0.5, 1.0), 100: (1.0, 0.5), 200: (0.1, 1.0)}
"""By imbalance factor: of the backbone's matching loss and of the classifier's (release)."""
PIXELS = {50: 100.0}
"""Rates of the pixels where they are not the row's."""
GROWING = {50}
"""Factors with which the window grows as in the row; with the others it is whole at once."""

TRAJECTORIES = (
    "weights 0.1 and 1 in the paper; backbone and classifier taught one after the other and matched"
    " in two runs, here at once; cross-entropy weighted by class, here scores less the prior"
)


def benchmark(factor: int) -> Benchmark:
    """CIFAR-10-LT; every class keeps at least one image, the first all 5,000."""
    kept = sum(round(5000 * factor ** (-k / 9)) for k in range(10))
    return replace(
        CIFAR10,
        name=f"cifar10-lt{factor}",
        title=f"CIFAR-10-LT, imbalance {factor}",
        data=replace(CIFAR10.data, imbalance=float(factor)),
        images=kept,
        per_class=f"{5000 // factor:,} to 5,000",
    )


def ltdd(factor: int) -> Recipe:
    """DATM's recipe with LTDD's loss and teachers."""
    images_lr = PIXELS.get(factor, ROW.images_lr)
    row = replace(ROW, images_lr=images_lr)
    if factor not in GROWING:
        row = replace(row, first=None, expansion=0)
    base = guo2024datm.datm(benchmark(factor), IPC, row)
    backbone, classifier = WEIGHTS[factor]
    match = row.match(backbone_weight=backbone, classifier_weight=classifier, prior_correction=True)
    return replace(
        base,
        name=f"ltdd-{base.name}",
        teach=replace(base.teach, classifier="balanced"),
        distill=replace(base.distill, match=match, threshold=THRESHOLD),
    )


def ltdd_entry(factor: int) -> Entry:
    return benchmark(factor).entry(
        ltdd(factor),
        "ltdd",
        source=SOURCE,
        settings="release",
        always_differs=TRAJECTORIES,
    )


ENTRIES = (
    *(
        guo2024datm.entry(
            benchmark(factor),
            IPC,
            ROW,
            settings="borrowed: CIFAR-10, IPC 50",
            published_in=SOURCE,
        )
        for factor in FACTORS
    ),
    *(ltdd_entry(factor) for factor in FACTORS),
)
