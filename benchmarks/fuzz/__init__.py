"""Fuzzers, seeded: what comes from outside, broken in every way, must be refused in one line or read rightly."""
