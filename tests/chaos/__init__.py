"""Hostile inputs and sudden deaths at full size: `make chaos`. The tests run a small share of it."""
