"""Datasets of the image tasks, each in a module of its name, and what they share."""
