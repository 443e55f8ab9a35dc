"""Judging records: bounds, quality rules, redaction, sampling and splitting."""
