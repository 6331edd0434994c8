"""One folder per external system, and one HTTP client for all. A connector returns the system's data unchanged."""
