"""How fast orders are: from request to confirmed, at rising load, and where the CPU of one order goes."""
