"""Figures, measured here and now beside a yardstick: `./hub bench …`."""
