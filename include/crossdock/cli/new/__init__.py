"""`./hub new`: write a connector, a stream, a subscriber or a page that passes the checks and its own tests at once."""
