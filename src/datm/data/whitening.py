"""ZCA whitening: x -> (x - mean) @ V diag((lambda + 0.1)^-1/2) V^T.

lambda, V: eigenvalues and eigenvectors of the covariance of the training pixels in [0, 1], an image
flattened to D = c*H*W numbers. Afterwards the pixels have variance lambda / (lambda + 0.1) along
each eigenvector and no correlation between them.
"""

import torch
from torch import Tensor

from datm.errors import InputError

REGULARISER = 0.1
LARGEST = 16384
# (pixel - 128)^2 <= 2^14, so a float32 sum over 2^10 images stays a whole number up to 2^24 and is
# exact in any order of summation: the result depends on neither threads nor chunks.
CHUNK = 1024


def check_dimension(d: int) -> None:
    """Raises InputError where a d x d matrix is past what whitening is for."""
    if d > LARGEST:
        raise InputError(
            f"data.transform: zca of images with {d} values needs a {d} x {d} matrix, past the "
            f"limit of {LARGEST}; use transform normalise or a smaller data.size."
        )


def covariance(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D] and covariance [D, D] (divisor n - 1), float64, of images [n, c, H, W] uint8 / 255.

    Needs 2 D^2 float64 numbers and one chunk; the sums are exact.
    """
    n, d = len(images), images[0].numel()
    total = torch.zeros(d, dtype=torch.float64)
    products = torch.zeros(d, d, dtype=torch.float64)
    for chunk in torch.split(images.cpu().flatten(1), CHUNK):
        x = chunk.float() - 128
        total += x.sum(0).double()
        products += x.T @ x
    products -= torch.outer(total, total) / n
    return (total / n + 128) / 255, products / (max(n - 1, 1) * 255**2)


def zca(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D] and whitening matrix [D, D], symmetric, float64, of images [n, c, H, W] uint8."""
    mean, cov = covariance(images)
    eigenvalues, vectors = torch.linalg.eigh(cov)
    # Rounding can leave the zero eigenvalues of constant pixels slightly negative.
    scale = (eigenvalues.clamp(min=0) + REGULARISER).rsqrt()
    return mean, (vectors * scale) @ vectors.T
