"""`./hub new`: write a connector, a stream or a subscriber that passes the checks and its own tests at once."""
