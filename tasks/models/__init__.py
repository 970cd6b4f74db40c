"""Learners and the artefact they leave."""
