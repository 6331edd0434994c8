"""The benchmark of the event store, beside a log without its guarantees: `./hub bench events`."""
