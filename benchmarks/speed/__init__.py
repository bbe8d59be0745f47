"""The speed benchmark: its baselines, cases, measurements and tables (`benchmarks/run.py`)."""
