"""The benchmark of a local stack: `./hub bench stack`."""
