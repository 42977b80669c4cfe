"""The measurements: `python -m tests.benchmarks`, which `make bench` runs. What they mean stands in docs/benchmarks.md."""
