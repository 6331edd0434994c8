"""What every simulated system runs on: the HTTP server, faults by script, the request log, the journal, the clock."""
