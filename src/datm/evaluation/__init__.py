"""Evaluation: fresh networks trained on a set of images, judged on the test split."""

from datm.evaluation.coresets import random_real
from datm.evaluation.protocol import EvaluateConfig, evaluate
from datm.evaluation.train import Protocol, train_network

__all__ = ["EvaluateConfig", "Protocol", "evaluate", "random_real", "train_network"]
