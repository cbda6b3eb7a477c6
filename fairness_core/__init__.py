"""Equipoise's core: data, methods, metrics, training and results. Nothing in here knows about the screen."""
