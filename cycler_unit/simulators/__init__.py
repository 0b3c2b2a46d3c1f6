"""Simulated devices that speak their real protocols, each holding a simulated cell.

``python -m cycler_unit.simulators --config bench.yaml``: see ``cycler_unit/simulators/__main__.py``.
"""
