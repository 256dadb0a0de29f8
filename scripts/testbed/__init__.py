"""The testbed's Python half: reads experiments, runs them on real servers, measures, reports."""
