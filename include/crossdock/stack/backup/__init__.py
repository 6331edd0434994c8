"""Back up a hub to a folder, and restore it from there."""
