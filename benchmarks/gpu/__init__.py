"""A first look at `datm` on a GPU, part by part (`benchmarks/gpu_profile.py`)."""
