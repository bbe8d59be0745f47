"""What a run says for itself: report.html, tables for the terminal, previews and cards."""

from datm.reporting.card import dataset_card
from datm.reporting.figures import preview_png
from datm.reporting.page import report
from datm.reporting.tables import markdown_table, results_table
from datm.reporting.verdict import Verdict, verdict

__all__ = [
    "Verdict",
    "dataset_card",
    "markdown_table",
    "preview_png",
    "report",
    "results_table",
    "verdict",
]
