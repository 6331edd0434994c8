"""The benchmark of the event store, beside a log that promises nothing: `./hub bench events`."""
