"""The chaos suite: real processes, real signals, real servers, broken on purpose. `make chaos` runs it."""
