"""Objectives of a run, what decides on them, and when a run may stop. No clock and no I/O."""
