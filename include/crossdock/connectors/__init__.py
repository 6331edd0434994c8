"""One folder per external system, and one HTTP client for all. A connector yields what the system said, as it came."""
