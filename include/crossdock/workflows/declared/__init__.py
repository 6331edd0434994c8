"""Workflows that people declare in a file: their form, the validator, and the languages of their expressions."""
