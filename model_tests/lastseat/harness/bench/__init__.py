"""Benchmarks as commands: ``make bench`` runs them all. Nothing here is a test."""
