"""What the hub does: one folder per flow. The only room that knows the order of steps."""
