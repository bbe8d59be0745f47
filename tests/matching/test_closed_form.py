"""Linear regression as the student: every quantity is written out with matrices in NumPy.

l(theta, X, Z) = ||X Theta - Z||^2 / (2 B) with Theta [d, K] and a batch X [B, d], Z [B, K], so
    theta_{i+1} = M_i theta_i + alpha X_i' Z_i / B,   M_i = I - alpha X_i' X_i / B,
and with W_i = M_{i+1} ... M_{N-1} 2 (theta_N - target) / D (M is symmetric),
    dL/dZ_i = (alpha / B) X_i W_i,
    dL/dX_i = -(alpha / B) [(X_i theta_i - Z_i) W_i' + X_i W_i theta_i'],
    dL/dalpha = -sum_i <X_i' (X_i theta_i - Z_i) / B, W_i>.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from datm.matching import match_gradient

D, K, S, B = 6, 3, 5, 4
ALPHA = 0.3


def regression(params: Tensor, images: Tensor, logits: Tensor) -> Tensor:
    scores = images.flatten(1) @ params.view(D, K)
    return (scores - logits).square().sum() / (2 * len(images))


def expected(
    start: np.ndarray, target: np.ndarray, x: np.ndarray, z: np.ndarray, batches: np.ndarray
) -> dict[str, np.ndarray]:
    """The record's entries by the formulas above; x [S, d], z [S, K], start, target [d, K]."""
    scale = np.sum((start - target) ** 2)
    thetas, moves = [start], []
    for rows in batches:
        moves.append(np.eye(D) - ALPHA / B * x[rows].T @ x[rows])
        thetas.append(moves[-1] @ thetas[-1] + ALPHA / B * x[rows].T @ z[rows])
    by_x, by_z, by_alpha = np.zeros_like(x), np.zeros_like(z), 0.0
    for step, rows in enumerate(batches):
        w = np.linalg.multi_dot([np.eye(D), *moves[step + 1 :], 2 * (thetas[-1] - target) / scale])
        theta, error = thetas[step], x[rows] @ thetas[step] - z[rows]
        np.add.at(by_z, rows, ALPHA / B * x[rows] @ w)
        np.add.at(by_x, rows, -ALPHA / B * (error @ w.T + x[rows] @ w @ theta.T))
        by_alpha -= np.sum(x[rows].T @ error / B * w)
    return {
        "loss": np.sum((thetas[-1] - target) ** 2) / scale,
        "images_grad": by_x,
        "logits_grad": by_z,
        "step_size_grad": by_alpha,
        "student": thetas[-1].ravel(),
    }


@pytest.mark.parametrize("method", ["exact", "unrolled"])
@pytest.mark.parametrize("steps", [1, 2, 8])
def test_linear_regression(method: str, steps: int) -> None:
    draw = np.random.default_rng(steps)
    start, target = draw.normal(size=(2, D, K))
    x, z = draw.normal(size=(S, D)), draw.normal(size=(S, K))
    batches = draw.integers(0, S, size=(steps, B))
    gradient = match_gradient(
        regression,
        torch.from_numpy(start.ravel()),
        torch.from_numpy(target.ravel()),
        torch.from_numpy(x).view(S, 1, 2, 3),
        torch.from_numpy(z),
        torch.tensor(ALPHA, dtype=torch.float64),
        torch.from_numpy(batches),
        method,
    )
    for name, value in expected(start, target, x, z, batches).items():
        found = getattr(gradient, name).numpy()
        np.testing.assert_allclose(found.reshape(np.shape(value)), value, rtol=1e-12, atol=1e-14)
