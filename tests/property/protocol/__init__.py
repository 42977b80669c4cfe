"""The protocol as a model of explicit states: every order in which its steps can happen, every fault between them.

Read `world.py` (what there is), then the moves (`worker.py`, `heart.py`, `scheduler.py`, `callers.py`, `faults.py`), each
of which names the code it stands for, then `laws.py` (what must hold) and `scenarios.py` (what is tried).
Run `python -m tests.property.protocol` for all of it.
"""
