"""A simulated webhook of Teams' Workflows: it keeps cards in an inbox instead of showing them."""
