"""Variants compared by what happened to their answers: lifts valid at every look, in one sentence."""
