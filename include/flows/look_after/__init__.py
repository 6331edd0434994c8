"""What the hub does for itself, beside its work: it lets go of what is old, and says what needs a person."""
